use super::*;
use secrecy::ExposeSecret;

fn parse(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match text.parse::<Target>() {
        Ok(target) => panic!("{text} was taken as {target:?}"),
        Err(error) => error.to_string(),
    }
}

fn tcp(name: &str, port: u16) -> Host {
    Host { address: Address::Tcp(name.to_owned()), port }
}

#[test]
fn a_whole_url_is_read() {
    let target = parse(
        "postgres://al%40ice:p%2Fw@db1:6000,[::1],db3:6002/app?sslmode=verify-full&sslrootcert=/ca.pem\
         &channel_binding=require&target_session_attrs=primary&connect_timeout=3&application_name=x%20y",
    );
    assert_eq!(target.hosts, [tcp("db1", 6000), tcp("::1", 5432), tcp("db3", 6002)]);
    assert_eq!((target.user.as_str(), target.database.as_str()), ("al@ice", "app"));
    assert_eq!(target.password.expect("a password").expose_secret(), "p/w");
    assert_eq!(target.sslmode, SslMode::VerifyFull);
    assert_eq!(target.root_cert, Some(RootCert::File("/ca.pem".into())));
    assert_eq!(target.channel_binding, ChannelBinding::Require);
    assert_eq!(target.session, SessionAttrs::Primary);
    assert_eq!(target.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(target.application_name, "x y");
}

#[test]
fn what_a_url_leaves_out_has_its_usual_value() {
    let target = parse("postgresql://bob@");
    assert_eq!(target.hosts, [tcp("localhost", 5432)]);
    assert_eq!(target.database, "bob");
    assert_eq!(target.sslmode, SslMode::Prefer);
    assert!(target.password.is_none());
}

#[test]
fn unix_sockets_are_known_by_their_slash() {
    let socket = Host { address: Address::Unix("/run/pg".into()), port: 5433 };
    for text in [
        "postgres://u@%2Frun%2Fpg:5433/d",
        "postgres://u@/d?host=/run/pg&port=5433",
        "host=/run/pg port=5433 user=u dbname=d",
    ] {
        assert_eq!(parse(text).hosts, std::slice::from_ref(&socket), "{text}");
    }
    assert_eq!(socket.to_string(), "/run/pg/.s.PGSQL.5433");
}

#[test]
fn libpq_words_are_read_with_their_quotes_and_escapes() {
    let target = parse(r"host = a,b  port=1,2 user=it dbname='my db' password=a\'b\\c");
    assert_eq!(target.hosts, [tcp("a", 1), tcp("b", 2)]);
    assert_eq!(target.database, "my db");
    assert_eq!(target.password.expect("a password").expose_secret(), r"a'b\c");
}

#[test]
fn the_system_roots_ask_for_the_name_to_be_verified() {
    assert_eq!(parse("postgres://u@h/d?sslrootcert=system").sslmode, SslMode::VerifyFull);
    assert!(refused("postgres://u@h/d?sslrootcert=system&sslmode=require").contains("verify-full"));
}

#[test]
fn an_unknown_parameter_is_named_with_the_nearest_known_one() {
    let message = refused("postgres://u@h/d?ssl_mode=require");
    assert_eq!(message, "the URL's parameter `ssl_mode` is unknown; did you mean `sslmode`?");
    assert!(refused("postgres://u@h/d?zzzzzzzz=1").contains("known are host, port"));
}

#[test]
fn bad_values_are_named_with_what_would_do() {
    assert!(refused("postgres://u@h/d?sslmode=on").contains("none of disable, allow, prefer"));
    assert!(refused("postgres://u@h:70000/d").contains("`70000`"));
    assert!(refused("postgres://u@a,b:1,c:2,d/d?port=1,2").contains("2 ports for 4 hosts"));
    assert!(refused("postgres://h/d").contains("no user"));
    assert!(refused("mysql://u@h/d").contains("postgres://"));
    assert!(refused("postgres://u@h/d?sslcert=x").contains("sslkey"));
    assert!(refused("postgres://u@h/d?sslmode").contains("no value"));
    assert!(refused("nonsense").contains("key=value"));
}

#[test]
fn no_error_and_no_debug_shows_the_password() {
    let target = parse("postgres://u:hunter2@h/d");
    assert!(!format!("{target:?}").contains("hunter2"));
    for text in ["postgres://u:hunter2%@h/d", "postgres://u:hunter2@h:x/d", "user=u password='hunter2"] {
        assert!(!refused(text).contains("hunter2"), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_either_read_or_refused(text in ".{0,80}") {
        drop(text.parse::<Target>());
        drop(format!("postgres://u@{text}").parse::<Target>());
    }

    #[test]
    fn any_password_survives_being_percent_encoded(password in ".{1,20}") {
        proptest::prop_assume!(!password.contains('\0'));
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let target = parse(&format!("postgres://u:{encoded}@h/d"));
        assert_eq!(target.password.expect("a password").expose_secret(), password);
    }
}
