// Does the operations on tables that most projections can do without.
// `tests/tests/end_to_end/languages/operations.rs` defines it, for all languages.
import { add, integer, max, min, projection, safeInteger, table, text } from "gnomon";

const tables = {
  people: table(
    { name: text(), city: text(), age: safeInteger(), note: text().nullable() },
    { key: "name", indexes: ["city"] },
  ),
  answers: table({ position: integer(), answer: text() }, { key: "position" }),
};

export default projection({
  name: "operations",
  version: 1,
  tables,
  on: {
    Put({ data: { name, city, age } }, { people }) {
      people.put({ name, city, age });
    },
    Patched({ data }, { people }) {
      people.patch(data.name, { age: add(data.add), note: "patched" });
    },
    Clamped({ data }, { people }) {
      people.patch(data.name, { age: max(data.min) });
      people.patch(data.name, { age: min(data.max) });
    },
    CityPatched({ data }, { people }) {
      people.patchWhere({ city: data.city }, { age: add(data.add), note: null });
    },
    Removed({ data }, { people }) {
      people.remove(data.name);
    },
    CityRemoved({ data }, { people }) {
      people.removeWhere({ city: data.city });
    },
    Asked({ position, data }, { people, answers }) {
      const found = people.find({ city: data.city }, data.limit);
      answers.put({ position, answer: found.map(({ name }) => name).join(",") });
    },
    AskedFor({ position, data }, { people, answers }) {
      const found = people.getMany(data.names);
      const texts = found.map((person) => (person ? `${person.name}:${person.age}` : "-"));
      answers.put({ position, answer: texts.join(",") });
    },
  },
});
