// An event as a handler sees it. Its data is parsed when a handler asks for it.

import { parse } from "./json.js";

export class Event {
  #event;
  #data;
  #metadata;

  constructor(event) {
    this.#event = event;
    this.position = event.position;
    this.id = event.id;
    this.streamId = event.streamId;
    this.type = event.eventType;
    this.version = event.version;
    this.schemaVersion = event.schemaVersion;
    this.recordedAt = event.recordedAt;
  }

  get category() {
    return this.streamId.split("-", 1)[0];
  }

  get entityId() {
    return this.streamId.slice(this.category.length + 1);
  }

  get data() {
    const { tag, val } = this.#event.data;
    return (this.#data ??= tag === "json" ? parse(val) : val);
  }

  get dataText() {
    const { tag, val } = this.#event.data;
    return tag === "json" ? val : undefined;
  }

  get metadata() {
    const text = this.#event.metadata;
    if (text === "") {
      throw new Error("the metadata was not asked for: add `metadata: true` to the projection");
    }
    return (this.#metadata ??= parse(text));
  }
}
