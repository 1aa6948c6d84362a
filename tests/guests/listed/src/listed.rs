//! The projection, whatever the order in which it lists what it declares.

/// Declares it with this order of tables, indexes and events. `$faulty` is what
/// it does with an event that asks for a fault.
macro_rules! listed {
    (
        tables: $tables:ty,
        indexes: ($($indexes:tt)*),
        events: {$($events:tt)*},
        faulty: $faulty:expr $(,)?
    ) => {
        use gnomon_sdk::prelude::*;

        /// One more for each event.
        #[derive(Row)]
        #[row(table = "ones")]
        pub struct One {
            /// The stream.
            #[key]
            pub id: String,
            /// How many events it has.
            pub number: i64,
        }

        /// A hundred more for each event, in a table of the same shape.
        #[derive(Row)]
        #[row(table = "hundreds")]
        pub struct Hundred {
            /// The stream.
            #[key]
            pub id: String,
            /// A hundred times as many.
            pub number: i64,
        }

        /// The last event of each stream.
        #[derive(Row)]
        #[row(table = "lasts", $($indexes)*)]
        pub struct Last {
            /// The stream.
            #[key]
            pub id: String,
            /// Its colour.
            pub colour: String,
            /// Its size.
            pub size: i64,
            /// How many streams had that colour, and how many that size.
            pub alike: String,
        }

        /// What the projection reads.
        #[derive(Events)]
        #[expect(missing_docs, reason = "`Last` says it")]
        pub enum ListedEvent {
            $($events)*
        }

        /// The projection.
        pub struct Listed;

        impl Projection for Listed {
            const NAME: &'static str = "listed";
            const VERSION: u32 = 1;
            type Event = ListedEvent;
            type Tables = $tables;

            fn apply(
                event: ListedEvent,
                context: &EventContext,
                tables: &mut Tables,
            ) -> Result<()> {
                let id = context.stream_id.clone();
                tables.merge(id.clone(), [One::number.add(1)]);
                let number = tables.get::<Hundred>(id.clone())?.map_or(0, |row| row.number);
                tables.put(Hundred { id: id.clone(), number: number + 100 });
                let (colour, size) = match event {
                    ListedEvent::Painted { colour } => {
                        let size = tables.get::<Last>(id.clone())?.map_or(0, |last| last.size);
                        (colour, size)
                    }
                    ListedEvent::Grown { size } => {
                        let last = tables.get_many::<Last, _>([id.clone()])?.pop().flatten();
                        (last.map_or_else(String::new, |last| last.colour), size)
                    }
                    ListedEvent::Faulty {} => return $faulty,
                };
                let coloured = tables.find(Last::by_colour(colour.clone()), 1_000)?;
                let sized = tables.find(Last::by_size(size), 1_000)?;
                let alike = format!("{} {}", coloured.len(), sized.len());
                tables.put(Last { id, colour, size, alike });
                Ok(())
            }
        }

        gnomon_sdk::export!(Listed);
    };
}

pub(crate) use listed;
