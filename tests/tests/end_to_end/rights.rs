//! Roles with the rights that docs/reference/database-rights.md gives them, and with few
//! connections. The SQL comes from that page.

use std::sync::Arc;

use gnomon_tests::harness::{Database, Installation, READ_MODELS, Server, System};
use url::Url;

const PAGE: &str = include_str!("../../../docs/reference/database-rights.md");

/// The statements of the page below this comment.
fn sql(comment: &str) -> String {
    let begin = format!("```sql\n-- {comment}");
    let (_, block) = PAGE
        .split_once(&begin)
        .unwrap_or_else(|| panic!("docs/reference/database-rights.md has no SQL `{comment}`"));
    let (block, _) = block.split_once("```").unwrap();
    let (_, statements) = block.split_once('\n').unwrap();
    statements.replace("DATABASE shop", "DATABASE test")
}

fn as_role(database: &Database, role: &str) -> Url {
    let mut url = Url::parse(&database.url()).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some("change me")).unwrap();
    url
}

/// A server of its own, as roles belong to a server.
fn with_roles(server: &Server, blocks: &[&str]) -> Installation {
    let database = Arc::new(Database::of_server(server));
    let installation = Installation::on(Arc::clone(&database), Arc::clone(&database));
    installation.append_orders(300, 12);
    for block in blocks {
        database.execute(&sql(block));
    }
    installation
        .with_examples()
        .with_variable("GNOMON_EVENTS_URL", as_role(&database, "gnomon_events"))
        .with_variable(
            "GNOMON_READ_MODELS_URL",
            as_role(&database, "gnomon_models"),
        )
}

/// Everything that a host does, with these rights.
fn works(installation: &Installation) {
    let writer = as_role(&installation.events, "gnomon_writer");
    let appended = installation
        .command(&[
            "append", "--stream", "Order-1", "--type", "T", "--data", "{}",
        ])
        .env("GNOMON_EVENTS_URL", writer.as_str())
        .output()
        .unwrap();
    assert!(appended.status.success(), "{appended:?}");
    let refused = installation.run(&["append", "--stream", "A-1", "--type", "T", "--data", "{}"]);
    assert_eq!(refused.code, Some(1), "the source's role only reads");
    assert!(refused.stderr.contains("permission denied"), "{refused:?}");
    installation.succeed(&["run", "--until-caught-up"]);
    let host = installation.start_host();
    installation.succeed(&["rebuild", "order_summary", "--wait"]);
    installation.succeed(&["rollback", "order_summary"]);
    installation.succeed(&["verify", "order_summary"]);
    installation.succeed(&["remove", "daily_revenue", "--drop"]);
    drop(host);
    for read_model in &READ_MODELS[..2] {
        read_model.assert_right(
            &installation.events,
            &installation.read_models,
            "with the documented rights",
        );
    }
}

#[test]
fn the_documented_grants_suffice() {
    let server = Server::start_new();
    let installation = with_roles(&server, &["events", "append", "read models: as the owner"]);
    works(&installation);
    let database = &installation.events;
    assert_eq!(
        database.rows(&sql("check")),
        [["1", "1", "1"].map(|yes| Some(yes.to_owned()))]
    );
    // Grants to readers survive the next promotion.
    database.execute("CREATE ROLE reporting");
    database.execute(&format!(
        "SET ROLE gnomon_models; {}; RESET ROLE",
        sql("readers")
    ));
    let host = installation.start_host();
    installation.succeed(&["rebuild", "order_summary", "--wait"]);
    drop(host);
    assert_eq!(
        database.number(
            "SELECT count(*) FROM information_schema.role_table_grants \
             WHERE grantee = 'reporting' AND table_schema = 'order_summary'"
        ),
        database.number(
            "SELECT count(*) FROM information_schema.views WHERE table_schema = 'order_summary'"
        )
    );
}

#[test]
fn a_role_without_create_on_the_database_has_its_schemas_made() {
    let server = Server::start_new();
    let blocks = ["events", "append", "read models without CREATE"];
    let installation = with_roles(&server, &blocks);
    // One that is there beforehand is taken.
    let database = &installation.read_models;
    database.execute("CREATE SCHEMA order_summary AUTHORIZATION gnomon_models");
    works(&installation);
    assert_eq!(
        database.rows(&sql("check"))[0][2].as_deref(),
        Some("0"),
        "the role has the right that it was to do without"
    );
}

#[test]
fn a_right_that_is_missing_is_named() {
    let server = Server::start_new();
    let installation = with_roles(&server, &["events", "append"]);
    let database = &installation.read_models;
    database.execute("CREATE ROLE gnomon_models LOGIN");
    installation.fail(
        &["run", "--until-caught-up"],
        &[
            "permission denied for database test",
            "docs/reference/database-rights.md",
        ],
    );
    database.execute("REVOKE SELECT ON SEQUENCE events_global_position_seq FROM gnomon_events");
    installation.fail(
        &["run", "--until-caught-up"],
        &[
            "events_global_position_seq",
            "docs/reference/database-rights.md",
        ],
    );
}

/// Three connections for everything: the source's watcher keeps one.
#[test]
fn three_projections_get_on_with_three_connections() {
    let server = Server::start_new();
    let database = Arc::new(Database::of_server(&server));
    let installation = Installation::on(Arc::clone(&database), Arc::clone(&database));
    installation.append_orders(2_000, 12);
    database.execute(
        "CREATE ROLE few LOGIN CONNECTION LIMIT 3; GRANT CREATE ON DATABASE test TO few; \
         GRANT SELECT ON events, events_global_position_seq TO few",
    );
    let url = as_role(&database, "few");
    let installation = installation
        .with_examples()
        .with_variable("GNOMON_EVENTS_URL", &url)
        .with_variable("GNOMON_READ_MODELS_URL", &url);
    let finished = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    installation.assert_rows_are_right("with three connections");
}

/// A host keeps to the bounds that it is given, whatever it has to do.
#[test]
fn a_host_keeps_to_its_bounds_of_connections() {
    let installation = Installation::new(System::Postgres, System::Postgres)
        .with_examples()
        .with_variable("GNOMON_EVENTS_MAX_CONNECTIONS", 2)
        .with_variable("GNOMON_READ_MODELS_MAX_CONNECTIONS", 2);
    installation.append_orders(2_000, 5);
    let host = installation.start_host();
    let count = |database: &Database| {
        database.number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'gnomon' AND backend_type = 'client backend'",
        )
    };
    let mut most = (0, 0);
    for read_model in READ_MODELS {
        loop {
            most.0 = most.0.max(count(&installation.events));
            most.1 = most.1.max(count(&installation.read_models));
            let name = read_model.projection;
            let reached = installation.read_models.has_table("checkpoints")
                && installation.read_models.number(&format!(
                    "SELECT count(*) FROM gnomon.checkpoints c \
                     JOIN gnomon.generations g ON g.id = c.generation \
                     WHERE g.projection = '{name}' AND c.position = 2000"
                )) > 0;
            if reached {
                break;
            }
        }
    }
    for read_model in READ_MODELS {
        installation.wait_for(read_model.projection, 2_000);
    }
    drop(host);
    // One more while the host opens its databases.
    assert!(most.0 <= 3 && most.1 <= 3, "{most:?}");
    installation.assert_rows_are_right("with two connections each");
}
