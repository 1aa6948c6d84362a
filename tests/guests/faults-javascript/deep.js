// Faults a few calls away from the handler that meets them.

export function deep(levels) {
  if (levels === 0) {
    const nothing = null;
    return nothing.field;
  }
  return deep(levels - 1);
}
