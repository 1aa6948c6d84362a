use super::*;
use proptest::prelude::*;

const MINIMAL: &str =
    "[events]\nurl = \"sqlite:events.db\"\n[read-models]\nurl = \"sqlite:rows.db\"\n";

fn variables(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read(
    text: Option<&str>,
    environment: &[(&str, &str)],
) -> Result<Configuration, InvalidConfiguration> {
    let path = Path::new("/srv/shop/gnomon.toml");
    Configuration::read(
        path,
        text.map(str::as_bytes),
        &variables(environment),
        Vec::new(),
    )
}

fn message(text: &str, environment: &[(&str, &str)]) -> String {
    read(Some(text), environment)
        .unwrap_err()
        .to_string()
        .replace("/srv/shop/", "")
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place() {
    let text = r#"
[event]
url = "sqlite:events.db"

[read-models]
url = "mysql://root:s3cret@localhost/x"

[limits]
memory = 64.5
batch-time = 10
batch-event = 7
batch-events = 0
row-cache = "a lot"
log-bytes = "2GiB"

[projection.order_summary]
on-error = "ignore"
batch-events = true
on-eror = "halt"

[projection.Order-Summary]
on-error = "halt"
"#;
    let expected = r#"14 mistakes in the configuration:
  gnomon.toml:2: event: there is no such section; did you mean `events`?
  gnomon.toml:6: read-models.url: not the URL of a database: it begins neither with `sqlite:` nor with `postgres://`
  gnomon.toml:9: limits.memory: expected a string in quotes, such as "64MiB", found a fractional number
  gnomon.toml:10: limits.batch-time: a duration needs its unit, as in "10s" or "500ms"
  gnomon.toml:11: limits.batch-event: there is no such key; did you mean `batch-events`?
  gnomon.toml:12: limits.batch-events: expected a whole number from 1 to 1000000
  gnomon.toml:13: limits.row-cache: expected a size such as "64MiB" or "512KiB"
  gnomon.toml:14: limits.log-bytes: expected a size from 0 B to 1.0 GiB
  gnomon.toml:17: projection.order_summary.on-error: expected "halt" or "park"
  gnomon.toml:18: projection.order_summary.batch-events: expected a whole number from 1 to 1000000, found a boolean
  gnomon.toml:19: projection.order_summary.on-eror: there is no such key; did you mean `on-error`?
  gnomon.toml:21: projection.Order-Summary: a projection's name has the form [a-z][a-z0-9_]*, at most 40 bytes; it is written here as the module declares it
  gnomon.toml: `url` is missing in section [events], as in `url = "sqlite:events.db"`; the variable GNOMON_EVENTS_URL may give it too
  environment: GNOMON_LIMITS_MEMROY: there is no such key; did you mean `GNOMON_LIMITS_MEMORY`?"#;
    let mut lines: Vec<String> = message(text, &[("GNOMON_LIMITS_MEMROY", "1GiB")])
        .lines()
        .map(str::to_owned)
        .collect();
    let mut expected: Vec<&str> = expected.lines().collect();
    // What has no line comes last, in no order that matters.
    lines[1..].sort();
    expected[1..].sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn a_mistake_of_syntax_has_its_line_and_column() {
    assert_eq!(
        message("[events]\nurl = \"sqlite:ü.db\" x\n", &[]),
        "gnomon.toml:2:21: unexpected key or value, expected newline, `#`"
    );
    let invalid = Configuration::read(
        Path::new("gnomon.toml"),
        Some(b"[events]\n# \xff"),
        &BTreeMap::new(),
        Vec::new(),
    );
    assert_eq!(
        invalid.unwrap_err().to_string(),
        "gnomon.toml:2:3: the file is not UTF-8"
    );
}

#[test]
fn a_missing_file_names_init_unless_the_environment_has_all_that_is_needed() {
    assert_eq!(
        read(None, &[]).unwrap_err().to_string(),
        "there is no configuration file /srv/shop/gnomon.toml; `gnomon init` creates one, and \
         `--config FILE` names another"
    );
    let url = "postgres://gnomon@localhost/events";
    let environment = [("GNOMON_EVENTS_URL", url), ("GNOMON_READ_MODELS_URL", url)];
    let configuration = read(None, &environment).unwrap();
    assert_eq!(configuration.events.to_string(), url);
}

#[test]
fn paths_are_relative_to_the_file() {
    let configuration = read(Some(MINIMAL), &[]).unwrap();
    assert_eq!(
        configuration.events.to_string(),
        "sqlite:/srv/shop/events.db"
    );
    assert_eq!(
        configuration.projections_directory,
        Path::new("/srv/shop/projections")
    );
}

#[test]
fn the_environment_wins() {
    let text =
        format!("{MINIMAL}[limits]\nbatch-events = 7\n[projection.a_b]\non-error = \"halt\"\n");
    let configuration = read(
        Some(&text),
        &[
            ("GNOMON_EVENTS_URL", "sqlite:/var/events.db"),
            ("GNOMON_LIMITS_BATCH_EVENTS", "10_000"),
            ("GNOMON_PROJECTION_A_B_ON_ERROR", "park"),
            ("GNOMON_PROJECTION_C_BATCH_TIME", "500ms"),
        ],
    )
    .unwrap();
    assert_eq!(configuration.events.to_string(), "sqlite:/var/events.db");
    assert_eq!(configuration.limits.batch_events, 10_000);
    assert_eq!(configuration.on_error("a_b"), OnError::Park);
    assert_eq!(configuration.limits_of("a_b").batch_events, 10_000);
    assert_eq!(
        configuration.limits_of("c").batch_time,
        Duration::from_millis(500)
    );
    assert_eq!(configuration.limits_of("nobody"), configuration.limits);
    assert_eq!(configuration.on_error("nobody"), OnError::Halt);
}

#[test]
fn variables_of_others_are_left_alone() {
    // Kubernetes sets the first two for a service that is called gnomon.
    let others = [
        ("GNOMON_SERVICE_HOST", "10.0.0.1"),
        ("GNOMON_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("GNOMON_LOG", "debug"),
        ("GNOMON_TEST_POSTGRES_URL", "postgres://localhost"),
    ];
    assert!(read(Some(MINIMAL), &others).is_ok());
    for (wrong, right) in [
        ("GNOMON_EVENT_URL", "GNOMON_EVENTS_URL"),
        ("GNOMON_READMODELS_URL", "GNOMON_READ_MODELS_URL"),
    ] {
        let message = message(MINIMAL, &[(wrong, "x")]);
        assert_eq!(
            message,
            format!("environment: {wrong}: there is no such key; did you mean `{right}`?")
        );
    }
}

#[test]
fn a_projection_keeps_the_common_limits_that_it_does_not_change() {
    // The order in the file does not matter.
    let text =
        format!("[projection.slow]\nbatch-time = \"1m\"\n{MINIMAL}[limits]\nmemory = \"128MiB\"\n");
    let limits = read(Some(&text), &[]).unwrap().limits_of("slow");
    assert_eq!(limits.batch_time, Duration::from_secs(60));
    assert_eq!(limits.memory, 128 << 20);
}

#[test]
fn a_password_is_in_no_message() {
    let secret = "s3cret";
    let url = format!("postgres//gnomon:{secret}@localhost/x");
    let text = format!(
        "[events]\nurl = \"{url}\"\n[read-models]\nurl = [\"{url}\"]\n[limits]\nmemory = \"{url}\"\n\
         batch-time = \"{url}\"\n[projection.a]\non-error = \"{url}\"\n"
    );
    let message = message(&text, &[("GNOMON_LIMITS_ROW_CACHE", &url)]);
    assert!(!message.contains(secret), "{message}");
    assert!(message.starts_with("6 mistakes"), "{message}");
    let broken = format!("[events]\nurl = {url}\n");
    let message = self::message(&broken, &[]);
    assert!(!message.contains(secret), "{message}");
}

#[test]
fn the_template_states_the_defaults() {
    let text = template();
    let configuration = read(Some(&text), &[]).unwrap();
    assert_eq!(configuration.limits, Limits::default());
    // What is commented out is right too, and is the default.
    let settings = text.replace("# [", "[");
    let uncommented: Vec<&str> = settings
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") => rest,
            _ => line,
        })
        .collect();
    let all = read(Some(&uncommented.join("\n")), &[]).unwrap();
    assert_eq!(all.limits, Limits::default());
    assert_eq!(all.projections.len(), 1);
    assert_eq!(all.limits_of("order_summary"), Limits::default());
    for key in keys::common().chain(keys::of_projection()) {
        assert!(
            text.contains(&format!("{} = {}", key.name, key.usual)),
            "{}",
            key.path()
        );
    }
}

#[test]
fn no_key_of_a_projection_is_the_end_of_another() {
    for key in keys::of_projection() {
        for other in keys::of_projection().filter(|other| other.name != key.name) {
            assert!(!other.variable_suffix().ends_with(&key.variable_suffix()));
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", value in "\\PC*") {
        let _ = read(Some(&text), &[("GNOMON_LIMITS_MEMORY", &value)]);
        let quoted = format!(
            "[events]\nurl = '''{value}'''\n[limits]\nmemory = '''{value}'''\nbatch-time = '''{value}'''"
        );
        let _ = read(Some(&quoted), &[("GNOMON_PROJECTION_X_BATCH_TIME", &value)]);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Configuration::read(Path::new("x"), Some(&bytes), &BTreeMap::new(), Vec::new());
    }
}
