"use strict";
// Everything shown is made of elements and text nodes: no text of a report is ever read as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { outcomes, operators, types, pairs, runs, reasons, ids, of, evidence } = data;
  const byId = (id) => document.getElementById(id);
  const SYMBOLS = { right: "✓", wrong: "✗", "not-here": "–", broken: "!", open: "?" };
  const WORST = ["wrong", "broken", "not-here", "open", "right"];
  const PAGE = 50; // cases drawn at a time
  const ROWS = 24; // rows of the map drawn at a time
  const PASS = outcomes.findIndex((o) => o.name === "pass");

  const outcomeOf = (run, i) => run.outcomes.charCodeAt(i) - 97; // negative: not in this report
  const classOf = (run, i) => outcomes[outcomeOf(run, i)]?.class;

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const mark = (name, part = false) =>
    make("span", { class: `mark ${name}${part ? " part" : ""}`, "aria-hidden": "true" }, SYMBOLS[name] ?? "·");

  // "Scaler", and its domain small behind it
  function named(operator) {
    const [name, domain] = operators[operator].split("::").reverse();
    return domain ? [`${name} `, make("small", { class: "quiet" }, domain)] : [name];
  }

  // ---- the map -------------------------------------------------------------------------------
  const rows = new Map(); // operator -> type -> numbers of the cases
  const rowOf = (operator) => {
    if (!rows.has(operator)) rows.set(operator, new Map());
    return rows.get(operator);
  };
  for (const pair of data.contract) rowOf(pairs[pair][0]).set(pairs[pair][1], []);
  data.in.forEach((own, i) => {
    for (const pair of own) {
      const row = rowOf(pairs[pair][0]);
      if (!row.has(pairs[pair][1])) row.set(pairs[pair][1], []);
      row.get(pairs[pair][1]).push(i);
    }
  });

  function tally(run, cases) {
    const counts = { right: 0, wrong: 0, "not-here": 0, broken: 0, open: 0 };
    for (const i of cases) {
      const name = classOf(run, i);
      if (name) counts[name] += 1;
    }
    return counts;
  }
  const worstOf = (counts) => WORST.find((name) => counts[name]);
  const told = (counts) =>
    ["right", "wrong", "not-here", "broken", "open"]
      .filter((name) => counts[name])
      .map((name) => `${counts[name]} ${{ right: "right", "not-here": "not run here" }[name] ?? name}`)
      .join(", ") || "no case";

  const grid = byId("grid");
  const mapRun = byId("map-run");
  const shownRuns = () => (mapRun.value === "-1" ? runs : [runs[Number(mapRun.value)]]);
  const badness = (operator) => {
    const all = [0, 0, 0];
    for (const cases of rows.get(operator).values())
      for (const run of shownRuns()) {
        const counts = tally(run, cases);
        WORST.slice(0, 3).forEach((name, place) => { all[place] += counts[name]; });
      }
    return all;
  };
  // ONNX's own operators, then those of each other domain
  const domainOf = (operator) => operators[operator].split("::").slice(0, -1).join();
  const byName = (a, b) =>
    domainOf(a).localeCompare(domainOf(b)) || operators[a].localeCompare(operators[b]);
  const worstFirst = (measure) => (a, b) => {
    const [x, y] = [measure.get(a), measure.get(b)];
    for (let place = 0; place < 3; place += 1) if (x[place] !== y[place]) return y[place] - x[place];
    return byName(a, b);
  };

  function cellOf(operator, type) {
    const cases = rows.get(operator).get(type);
    if (cases === undefined) return make("td", { role: "gridcell" });
    if (!cases.length)
      return make("td", { role: "gridcell", class: "mark none", title: `${operators[operator]}, ${types[type]}: no case` }, "·");
    const shown = shownRuns();
    const squares = make("span", { class: "squares" });
    squares.style.setProperty("--across", Math.ceil(Math.sqrt(shown.length)));
    const words = shown.map((run) => {
      const counts = tally(run, cases);
      const worst = worstOf(counts);
      squares.append(mark(worst ?? "none", worst !== "right" && counts.right > 0));
      return `${run.label}: ${told(counts)}`;
    });
    const text = `${operators[operator]}, ${types[type]}. ${words.join("; ")}`;
    return make("td", {
      role: "gridcell", tabindex: "-1", "data-cell": `${operator},${type}`, "aria-label": text, title: text,
    }, squares);
  }

  let drawing = 0;
  function drawMap() {
    const ticket = ++drawing;
    const present = new Set();
    for (const row of rows.values()) for (const type of row.keys()) present.add(type);
    const columns = data.columns.filter((type) => present.has(type));
    const head = make("tr", {}, make("th", { scope: "col" }, "operator"),
      ...columns.map((type) => make("th", { scope: "col" }, make("span", {}, types[type]))));
    const body = make("tbody");
    grid.replaceChildren(make("thead", {}, head), body);
    const list = [...rows.keys()].sort(byName);
    if (byId("map-order").value === "worst")
      list.sort(worstFirst(new Map(list.map((operator) => [operator, badness(operator)]))));
    const draw = (from) => {
      if (ticket !== drawing) return;
      body.append(...list.slice(from, from + ROWS).map((operator) =>
        make("tr", {}, make("th", { scope: "row", title: operators[operator] }, ...named(operator)),
          ...columns.map((type) => cellOf(operator, type)))));
      if (from === 0) body.querySelector("td[data-cell]")?.setAttribute("tabindex", "0");
      if (from + ROWS < list.length) requestAnimationFrame(() => draw(from + ROWS));
    };
    draw(0);
    const shown = shownRuns();
    byId("map-places").textContent = shown.length < 2 ? "" :
      `Squares in a field, row by row: ${shown.map((run, i) => `${i + 1} ${run.label}`).join(", ")}.`;
  }

  function step(cell, across, down) {
    let row = cell.parentElement;
    let place = cell.cellIndex;
    for (;;) {
      if (down) row = down > 0 ? row.nextElementSibling : row.previousElementSibling;
      else place += across;
      const next = row?.cells[place];
      if (!next || place < 1) return;
      if (next.dataset.cell) {
        cell.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
        return;
      }
    }
  }
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  grid.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td[data-cell]");
    if (!cell) return;
    if (ARROWS[event.key]) step(cell, ...ARROWS[event.key]);
    else if (event.key === "Enter" || event.key === " ") choose(cell);
    else return;
    event.preventDefault();
  });
  grid.addEventListener("click", (event) => {
    const cell = event.target.closest("td[data-cell]");
    if (cell) choose(cell);
  });
  function choose(cell) {
    const [operator, type] = cell.dataset.cell.split(",").map(Number);
    byId("filter").reset();
    state.operator = operator;
    byId("type").value = String(type);
    if (mapRun.value !== "-1") byId("run").value = mapRun.value;
    update();
    byId("cases").scrollIntoView();
    byId("cases-title").focus({ preventScroll: true });
  }

  // ---- the filter ----------------------------------------------------------------------------
  const state = { operator: -1 };
  const boxes = outcomes.map((outcome, number) => {
    const total = runs.reduce((sum, run) => {
      let count = 0;
      for (let i = 0; i < ids.length; i += 1) if (outcomeOf(run, i) === number) count += 1;
      return sum + count;
    }, 0);
    const box = make("input", { type: "checkbox", "data-outcome": outcome.name, checked: "" });
    if (total)
      byId("outcomes").append(make("label", {}, box, mark(outcome.class), `${outcome.name} ${total}`));
    return box;
  });
  runs.forEach((run, i) => {
    for (const id of ["run", "map-run"]) byId(id).append(make("option", { value: String(i) }, run.label));
  });
  for (const type of data.columns) byId("type").append(make("option", { value: String(type) }, types[type]));
  byId("differs-label").hidden = runs.length < 2;

  let haystack = null; // what the text is looked for in, made when first asked for
  function hay(i) {
    haystack ??= ids.map((id, n) => [
      id, ...of[n].map((o) => operators[o]), ...runs.map((run) => reasons[run.reasons[n]] ?? ""),
    ].join("\n").toLowerCase());
    return haystack[i];
  }

  function matching() {
    const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const admitted = boxes.map((box) => box.checked);
    const chosen = Number(byId("run").value);
    const asked = chosen < 0 ? runs : [runs[chosen]];
    const type = Number(byId("type").value);
    const differs = byId("differs").checked;
    const { operator } = state;
    const found = [];
    for (let i = 0; i < ids.length; i += 1) {
      if (operator >= 0 && !of[i].includes(operator)) continue;
      if (type >= 0 && !data.in[i].some((pair) =>
        pairs[pair][1] === type && (operator < 0 || pairs[pair][0] === operator))) continue;
      if (!asked.some((run) => admitted[outcomeOf(run, i)])) continue;
      if (differs && new Set(runs.map((run) => run.outcomes[i])).size < 2) continue;
      if (words.length && !words.every((word) => hay(i).includes(word))) continue;
      found.push(i);
    }
    return found;
  }

  // ---- the cases -----------------------------------------------------------------------------
  const time = (seconds) =>
    seconds < 0.9995 ? `${(seconds * 1000).toPrecision(3)} ms` : `${seconds.toFixed(seconds < 99 ? 2 : 0)} s`;
  const facts = (run, i) =>
    [evidence[run.evidence.charCodeAt(i) - 97], time(run.seconds[i])].filter(Boolean).join(", ");

  function passes(passing, i) {
    const said = make("span", { class: "said wide" }, make("b", {}, "pass "));
    passing.forEach((run, n) =>
      said.append(`${n ? ", " : ""}${run.label} `, make("span", { class: "quiet" }, `(${facts(run, i)})`)));
    return make("li", {}, mark("right"), said);
  }

  function failure(run, i) {
    const outcome = outcomes[outcomeOf(run, i)];
    const said = [outcome.name];
    if (run.expected[i]) said.push(`(expectations: ${run.expected[i]})`);
    const reason = reasons[run.reasons[i]] ?? "";
    const id = /^[\w@%+=:,./-]+$/.test(ids[i]) ? ids[i] : `'${ids[i].replaceAll("'", `'"'"'`)}'`;
    const command = `${run.command} -k ${id} --repro repro`;
    const copy = make("button", { type: "button", "aria-label": `Copy the command for ${run.label}` }, "copy");
    copy.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(command); copy.textContent = "copied"; }
      catch { copy.textContent = "select it"; getSelection().selectAllChildren(copy.previousSibling); }
    });
    return make("li", { "data-run": run.label }, mark(outcome.class), make("span", {}, run.label),
      make("span", { class: "said" }, make("b", {}, said.join(" ")), reason ? `: ${reason} ` : " ",
        make("span", { class: "quiet" }, facts(run, i))),
      make("span", { class: "command" }, make("code", {}, command), copy));
  }

  function caseOf(i, operator) {
    const others = of[i].filter((o) => o !== operator).map((o) => operators[o]);
    const element = make("article", { class: "case", "data-case": ids[i] }, make("h4", {}, ids[i]));
    if (others.length) element.append(make("p", { class: "quiet" }, `with ${others.join(", ")}`));
    const list = make("ul");
    const passing = runs.filter((run) => outcomeOf(run, i) === PASS);
    for (const run of runs)
      if (outcomeOf(run, i) >= 0 && outcomeOf(run, i) !== PASS) list.append(failure(run, i));
    if (passing.length) list.append(passes(passing, i));
    element.append(list);
    return element;
  }
  function fill(details, cases, operator) {
    const draw = (from) => {
      details.append(...cases.slice(from, from + PAGE).map((i) => caseOf(i, operator)));
      const left = cases.length - from - PAGE;
      if (left <= 0) return;
      const button = make("button", { type: "button", class: "more" }, `show ${Math.min(left, PAGE)} of ${left} more`);
      button.addEventListener("click", () => { button.remove(); draw(from + PAGE); });
      details.append(button);
    };
    draw(0);
  }

  // What went wrong anywhere comes first, and among equals the cases of one operator only.
  const place = (i) => Math.min(...runs.map((run) => WORST.indexOf(classOf(run, i) ?? "right")));

  function groupOf(operator, cases, open) {
    const alone = cases.filter((i) => of[i].length === 1);
    const counted = alone.length ? alone : cases;
    const details = make("details", { class: "group", "data-operator": operators[operator] });
    const summary = make("summary", {}, make("b", {}, ...named(operator)));
    runs.forEach((run, place) => {
      const counts = tally(run, counted);
      const shown = WORST.filter((name) => counts[name]);
      if (!shown.length) return;
      const line = make("span", { class: "tally" });
      if (runs.length > 1)
        line.append(make("span", { class: "place", title: run.label, "aria-label": run.label }, String(place + 1)));
      for (const name of ["right", "wrong", "broken", "not-here", "open"])
        if (counts[name]) line.append(make("span", {}, mark(name), ` ${counts[name]}`));
      line.setAttribute("title", `${run.label}: ${told(counts)}`);
      summary.append(line);
    });
    const others = cases.length - counted.length;
    if (others)
      summary.append(make("span", { class: "quiet" }, `of ${counted.length} of it alone; and ${others} with others`));
    details.append(summary);
    const sorted = cases.map((i) => [place(i), of[i].length > 1, i]).sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]).map((row) => row[2]);
    let filled = false;
    const once = () => { if (!filled) { filled = true; fill(details, sorted, operator); } };
    details.addEventListener("toggle", () => { if (details.open) once(); });
    if (open) { once(); details.open = true; }
    return details;
  }

  function update() {
    const found = matching();
    const groups = new Map();
    for (const i of found)
      for (const operator of of[i]) {
        if (state.operator >= 0 && operator !== state.operator) continue;
        if (!groups.has(operator)) groups.set(operator, []);
        groups.get(operator).push(i);
      }
    const list = [...groups.keys()].sort(byName);
    if (byId("order").value === "worst") {
      const measure = new Map(list.map((operator) => {
        const cases = groups.get(operator);
        const alone = cases.filter((i) => of[i].length === 1);
        const all = [0, 0, 0];
        for (const run of runs) {
          const counts = tally(run, alone);
          WORST.slice(0, 3).forEach((name, place) => { all[place] += counts[name]; });
        }
        return [operator, all];
      }));
      list.sort(worstFirst(measure));
    }
    const open = list.length <= 2 || found.length <= 8;
    byId("groups").replaceChildren(...list.map((operator) => groupOf(operator, groups.get(operator), open)));
    byId("count").textContent =
      `${found.length.toLocaleString("en")} of ${ids.length.toLocaleString("en")} cases, under ${list.length} operator${list.length === 1 ? "" : "s"}`;
    const chosen = byId("chosen");
    chosen.replaceChildren();
    if (state.operator >= 0) {
      const button = make("button", { type: "button", "aria-label": `Not only ${operators[state.operator]}` },
        `operator ${operators[state.operator]} ×`);
      button.addEventListener("click", () => { state.operator = -1; update(); });
      chosen.append("only ", button);
    }
  }

  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(update, 120); };
  byId("filter").addEventListener("input", (event) => (event.target.id === "text" ? soon() : update()));
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("reset", () => { state.operator = -1; setTimeout(update); });
  for (const id of ["map-run", "map-order"]) byId(id).addEventListener("input", drawMap);

  drawMap();
  update();
  document.body.dataset.ready = String(Math.round(performance.now()));
})();
