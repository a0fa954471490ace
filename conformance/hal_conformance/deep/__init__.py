"""`--depth deep`: cases drawn without end, of which those that fail are shrunk to minimal ones."""
