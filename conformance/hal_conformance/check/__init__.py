"""`hal check`: does a model run on a device, is it right there, and which node breaks it?

`checker` asks and judges, `bisection` and `search` find the node at fault, `parts` cuts it out,
`trial` runs a model on the device and turns whatever comes of it into an outcome.
"""
