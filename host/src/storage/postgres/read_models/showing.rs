//! Which generation's tables readers find under the public names.

use gnomon_model::Description;
use sqlx::{Executor as _, PgConnection};

use super::views::{self, Change};
use super::{dependents, public_names};
use crate::generation::GenerationId;
use crate::storage::postgres::error::{LOCK_NOT_AVAILABLE, has_state};
use crate::storage::postgres::failure::Failure;

/// Readers queue behind a transaction that waits for one of them, so it waits
/// briefly and the caller tries again.
pub(crate) const WAIT_BRIEFLY: &str = "SET LOCAL lock_timeout = '150ms'";

/// What the public names are to show.
pub(crate) struct Shown<'a> {
    pub(crate) generation: GenerationId,
    pub(crate) description: &'a Description,
    /// What they showed before.
    pub(crate) instead_of: Option<&'a Description>,
}

/// Makes the public names show a generation. `command` asks to drop views of
/// users that cannot stay, which `cascade` does.
pub(crate) async fn show(
    connection: &mut PgConnection,
    shown: Shown<'_>,
    cascade: bool,
    command: &str,
) -> Result<(), Failure> {
    let (description, before) = (shown.description, shown.instead_of);
    let projection = &description.name;
    public_names::claim_schema(connection, projection, true).await?;
    public_names::check(connection, description, before).await?;
    let change = views::change(connection, shown.generation, description, before, cascade).await?;
    if !cascade && !change.dependents.is_empty() {
        let what = format!(
            "generation {} has other columns or tables than `{projection}` shows now",
            shown.generation
        );
        let command = format!("gnomon {command} {projection} --cascade");
        return Err(dependents::in_the_way(&what, &change.dependents, &command).into());
    }
    let views = [Some(description), before].into_iter().flatten();
    let views = views.flat_map(public_names::table_names).collect();
    run(connection, projection, views, change).await
}

/// Makes the public names show nothing.
pub(crate) async fn hide(
    connection: &mut PgConnection,
    live: &Description,
    cascade: bool,
) -> Result<(), Failure> {
    let projection = &live.name;
    let change = views::removal(connection, live, cascade).await?;
    if !cascade && !change.dependents.is_empty() {
        let what = format!("projection `{projection}` is to go with its views");
        let command = format!("gnomon remove {projection} --drop --cascade");
        return Err(dependents::in_the_way(&what, &change.dependents, &command).into());
    }
    run(
        connection,
        projection,
        public_names::table_names(live),
        change,
    )
    .await
}

/// `LOCK TABLE` would be sooner, but on a view it takes the tables below it too,
/// and their vacuum.
async fn run(
    connection: &mut PgConnection,
    projection: &str,
    views: Vec<String>,
    change: Change,
) -> Result<(), Failure> {
    connection.execute(WAIT_BRIEFLY).await?;
    match change.run(connection).await {
        Ok(()) => Ok(()),
        Err(error) if has_state(&error, LOCK_NOT_AVAILABLE) => Err(Failure::Blocked {
            projection: projection.to_owned(),
            views,
            error,
        }),
        Err(error) => Err(error.into()),
    }
}
