import { type Event, projection, table, text } from "gnomon";

// A column for each value of a row.
const entries = table({ id: text() }, { key: "id" });

interface SomethingHappened {
  id: string;
}

export default projection({
  name: "{{projection}}",
  // Increase this whenever the same events should produce different rows.
  version: 1,
  tables: { {{projection}}: entries },
  // A handler for each type of event that is wanted.
  on: {
    SomethingHappened({ data }: Event<SomethingHappened>, tables) {
      tables.{{projection}}.put({ id: data.id });
    },
  },
});
