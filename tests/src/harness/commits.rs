//! The commits of a PostgreSQL target, as its database saw them.

use super::{Database, Installation};

/// Writes down every commit, and which host it came from: a host is known by
/// the `application_name` in its URL.
pub struct Commits<'a>(&'a Database);

impl<'a> Commits<'a> {
    /// Begins, before the first host comes.
    #[must_use]
    pub fn record(installation: &'a Installation) -> Self {
        let database = &*installation.read_models;
        database.make_registry();
        database.execute(
            "CREATE TABLE public.commits (number bigserial PRIMARY KEY, generation bigint,
                 epoch bigint, before bigint, after bigint, host text);
             CREATE FUNCTION public.record_commit() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.commits (generation, epoch, before, after, host)
                 VALUES (new.generation, new.epoch, old.position, new.position,
                         current_setting('application_name'));
                 RETURN new;
             END $$;
             CREATE TRIGGER record_commit AFTER UPDATE OF checkpoint ON gnomon.checkpoints
             FOR EACH ROW EXECUTE FUNCTION public.record_commit()",
        );
        Self(database)
    }

    /// Panics where a checkpoint went back, or two hosts committed under one
    /// epoch. Gives the number of commits.
    ///
    /// # Panics
    /// See above.
    #[must_use]
    pub fn check(&self, when: &str) -> i64 {
        let back = self
            .0
            .rows("SELECT * FROM public.commits WHERE after < before");
        assert!(back.is_empty(), "{when}: {back:?}");
        let shared = self.0.rows(
            "SELECT generation, epoch, array_agg(DISTINCT host) FROM public.commits
             GROUP BY generation, epoch HAVING count(DISTINCT host) > 1",
        );
        assert!(shared.is_empty(), "{when}: {shared:?}");
        self.0.number("SELECT count(*) FROM public.commits")
    }

    /// The number of commits of a host so far.
    #[must_use]
    pub fn of(&self, host: &str) -> i64 {
        self.0.number(&format!(
            "SELECT count(*) FROM public.commits WHERE host = '{host}'"
        ))
    }
}
