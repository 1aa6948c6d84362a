// How `patch` and `merge` change a column, besides setting it.

export class Change {
  constructor(kind, value) {
    this.kind = kind;
    this.value = value;
  }
}

export const add = (value) => new Change("add", value);
export const min = (value) => new Change("min", value);
export const max = (value) => new Change("max", value);
