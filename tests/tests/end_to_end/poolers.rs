//! A connection pooler between host and server.

use std::sync::Arc;

use gnomon_tests::harness::{Database, Installation, ORDER_SUMMARY, Pooler, System};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _, Row as _};
use url::Url;

fn server() -> Url {
    Url::parse(&std::env::var("GNOMON_TEST_POSTGRES_URL").unwrap()).unwrap()
}

/// With events and read models in one database, both through the pooler.
fn behind(pooler: &Pooler) -> Installation {
    let database = Arc::new(Database::new(System::Postgres));
    let mut url = pooler.way_to(&database.url());
    // A setting that the pooler takes for none of its own.
    url.set_query(Some("options=-c%20statement_timeout%3D61s"));
    Installation::on(Arc::clone(&database), database)
        .with_example("order-summary")
        .with_variable("GNOMON_EVENTS_URL", &url)
        .with_variable("GNOMON_READ_MODELS_URL", &url)
}

#[test]
fn session_pooling_works_as_it_comes() {
    let pooler = Pooler::start(&server(), "session");
    let installation = behind(&pooler);
    installation.append_orders(300, 7);
    installation.succeed(&["run", "--until-caught-up"]);
    let host = installation.start_host();
    installation.append("Order-900000", "Unwanted", &serde_json::json!({}));
    installation.wait_for(ORDER_SUMMARY.projection, 301);
    installation.succeed(&["rebuild", ORDER_SUMMARY.projection, "--wait"]);
    installation.succeed(&["verify", ORDER_SUMMARY.projection]);
    assert_eq!(installation.json_lines(&["events"]).len(), 301);
    ORDER_SUMMARY.assert_right(
        &installation.events,
        &installation.read_models,
        "through a pooler",
    );
    drop(host);
}

/// Every kind of command meets it, and none leaves a setting in a session that
/// the pooler lends to somebody else.
#[test]
fn transaction_pooling_is_refused_in_a_sentence_and_left_as_it_was() {
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&server(), mode);
        let installation = behind(&pooler);
        let before = settings(&pooler, &installation);
        for command in [
            &["append", "--stream", "A-1", "--type", "T", "--data", "{}"][..],
            &["events"],
            &["status"],
            &["run"],
            &["run", "--until-caught-up"],
        ] {
            installation.fail(
                command,
                &["lends one server session", "pool_mode = session"],
            );
        }
        assert_eq!(settings(&pooler, &installation), before, "{mode}");
    }
}

/// What Gnomon sets, as somebody finds it to whom the pooler lends the session.
fn settings(pooler: &Pooler, installation: &Installation) -> String {
    let options: PgConnectOptions = pooler
        .way_to(&installation.events.url())
        .as_str()
        .parse()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = options.extra_float_digits(None);
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let settings = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) \
                        FROM pg_settings WHERE name IN ('search_path', 'lock_timeout', \
                        'plan_cache_mode', 'statement_timeout', 'extra_float_digits')";
        let row = connection.fetch_one(settings).await.unwrap();
        row.get(0)
    })
}
