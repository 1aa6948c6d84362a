// The tables of a projection: how they are declared, and what a handler does with them.

import { Table as HostTable } from "gnomon:projection/read-model@0.1.0";

import { Change } from "./changes.js";
import { Column } from "./columns.js";
import { shown } from "./errors.js";
import { isUnsigned32 } from "./primitives.js";

const NULL = { tag: "null" };
const NAME_CHARACTERS_MAX = 80;

/** Declares a table: its columns, the key, the indexes. */
export function table(columns, { key, indexes = [] }) {
  for (const [name, column] of Object.entries(columns)) {
    if (!(column instanceof Column)) throw new TypeError(`table: ${name} is no column`);
  }
  const declared = { columns, key: [key].flat(), indexes: indexes.map((index) => [index].flat()) };
  for (const name of [declared.key, ...declared.indexes].flat()) {
    if (!Object.hasOwn(columns, name)) throw new TypeError(`table: there is no column ${name}`);
  }
  return declared;
}

/** A declared table as the contract has it. */
export function schemaOf(name, { columns, key, indexes }) {
  return {
    name,
    columns: Object.entries(columns).map(([name, { type, isNullable }]) => ({
      name,
      columnType: type,
      nullable: isNullable,
    })),
    primaryKey: key,
    indexes,
  };
}

/** The table that a handler is given. */
export class Table {
  #name;
  #columns;
  #key;
  #table;

  constructor(name, { columns, key }) {
    this.#name = name;
    this.#columns = new Map();
    for (const [column, { type, wanted, encode, decode, isNullable }] of Object.entries(columns)) {
      const path = `${name}.${column}`;
      this.#columns.set(column, { path, type, wanted, encode, decode, isNullable });
    }
    this.#key = key.map((column) => [column, this.#column(column)]);
  }

  get(key) {
    return this.#row(this.#opened.get(this.#keyValues(key)));
  }

  getMany(keys) {
    const values = Array.from(keys, (key) => this.#keyValues(key));
    return this.#opened.getMany(values).map((row) => this.#row(row));
  }

  find(where, limit) {
    if (!isUnsigned32(limit)) {
      throw new TypeError(`${this.#name}.find: the limit is ${brief(limit)}, not a whole number`);
    }
    const [columns, values] = this.#condition(where);
    return this.#opened.find(columns, values, limit).map((row) => this.#row(row));
  }

  put(row) {
    for (const column in row) this.#column(column);
    const values = [];
    for (const [name, column] of this.#columns) values.push(valueOf(column, row[name]));
    this.#opened.put(values);
  }

  patch(key, changes) {
    this.#opened.patch(this.#keyValues(key), this.#changes(changes));
  }

  merge(key, changes) {
    this.#opened.merge(this.#keyValues(key), this.#changes(changes));
  }

  remove(key) {
    this.#opened.remove(this.#keyValues(key));
  }

  patchWhere(where, changes) {
    const [columns, values] = this.#condition(where);
    this.#opened.patchWhere(columns, values, this.#changes(changes));
  }

  removeWhere(where) {
    const [columns, values] = this.#condition(where);
    this.#opened.removeWhere(columns, values);
  }

  // Not before the first call: when the module is loaded, at build time, there is no host.
  get #opened() {
    return (this.#table ??= new HostTable(this.#name));
  }

  #column(name) {
    const column = this.#columns.get(name);
    if (!column) throw new TypeError(`the table ${this.#name} has no column ${name}`);
    return column;
  }

  #keyValues(key) {
    if (this.#key.length === 1) return [valueOf(this.#key[0][1], key)];
    if (typeof key !== "object" || key === null) {
      const names = this.#key.map(([name]) => name).join(", ");
      throw new TypeError(`the key of ${this.#name} is an object of ${names}, not ${brief(key)}`);
    }
    return this.#key.map(([name, column]) => valueOf(column, key[name]));
  }

  #condition(where) {
    const entries = Object.entries(where);
    return [
      entries.map(([name]) => name),
      entries.map(([name, value]) => valueOf(this.#column(name), value)),
    ];
  }

  #changes(changes) {
    return Object.entries(changes).map(([name, change]) => {
      const column = this.#column(name);
      return change instanceof Change
        ? { tag: change.kind, val: [name, operandOf(column, change)] }
        : { tag: "set", val: [name, valueOf(column, change)] };
    });
  }

  #row(values) {
    if (!values) return undefined;
    const row = {};
    let place = 0;
    for (const [name, { path, decode }] of this.#columns) {
      const { tag, val } = values[place++];
      row[name] = tag === "null" ? null : decode(val, path);
    }
    return row;
  }
}

function valueOf(column, value) {
  if (value === null || value === undefined) {
    if (column.isNullable) return NULL;
    // JSON has a null of its own.
    if (column.type === "json" && value === null) return { tag: "json", val: "null" };
    throw new TypeError(`${column.path}: ${value}, but the column is not nullable`);
  }
  const val = column.encode(value);
  if (val === undefined) throw mismatch(column, value);
  return { tag: column.type, val };
}

function operandOf(column, { kind, value }) {
  if (value === null || value === undefined) {
    throw new TypeError(`${column.path}: ${value} cannot be an operand of ${kind}`);
  }
  return valueOf(column, value);
}

function mismatch({ path, wanted }, value) {
  return new TypeError(`${path}: ${brief(value)} is not ${wanted}`);
}

function brief(value) {
  const text = typeof value === "string" ? JSON.stringify(value) : shown(value);
  return text.length > NAME_CHARACTERS_MAX ? `${text.slice(0, NAME_CHARACTERS_MAX)}…` : text;
}
