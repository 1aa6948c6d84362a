//! Which module a watched file held when it was last deployed.

use gnomon_databases::connections::Connections;

use crate::generation::ModuleHash;

pub(super) async fn note(pool: &Connections, file: &str, module: &ModuleHash) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO gnomon.files (name, module) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET module = excluded.module",
    )
    .bind(file)
    .bind(module.as_str())
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn noted(pool: &Connections) -> sqlx::Result<Vec<(String, ModuleHash)>> {
    let files: Vec<(String, String)> =
        sqlx::query_as("SELECT name, module FROM gnomon.files ORDER BY name COLLATE \"C\"")
            .fetch_all(pool)
            .await?;
    Ok(files
        .into_iter()
        .map(|(name, module)| (name, ModuleHash::from_stored(module)))
        .collect())
}
