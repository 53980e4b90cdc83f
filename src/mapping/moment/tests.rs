use super::{Form, parse, pattern};

#[test]
fn postgres_text_becomes_iso() {
    use Form::{Date, Time, TimeTz, Timestamp, TimestampTz};
    for (form, text, expected) in [
        (Date, "2024-05-01", "2024-05-01"),
        (Date, "0044-03-15 BC", "-0043-03-15"),
        (Date, "0001-12-31 BC", "0000-12-31"),
        (Date, "4714-11-24 BC", "-4713-11-24"),
        (Date, "12345-01-01", "+12345-01-01"),
        (Date, "5874897-12-31", "+5874897-12-31"),
        (Date, "infinity", "infinity"),
        (Date, "-infinity", "-infinity"),
        (Date, "2023-02-29", "none"),
        (Date, "2024-02-29", "2024-02-29"),
        (Timestamp, "2024-05-01 10:00:00.123456", "2024-05-01T10:00:00.123456"),
        (Timestamp, "2024-05-01 10:00:00.5", "2024-05-01T10:00:00.5"),
        (Timestamp, "0001-01-01 00:00:00 BC", "0000-01-01T00:00:00"),
        (Timestamp, "2024-05-01", "none"),
        (TimestampTz, "2024-05-01 10:00:00+02", "2024-05-01T08:00:00Z"),
        (TimestampTz, "2024-05-01 01:00:00+05:30", "2024-04-30T19:30:00Z"),
        (TimestampTz, "1890-01-01 00:00:00+00:19:32", "1889-12-31T23:40:28Z"),
        (TimestampTz, "2023-12-31 20:00:00-08", "2024-01-01T04:00:00Z"),
        (TimestampTz, "0044-03-15 00:30:00+01 BC", "-0043-03-14T23:30:00Z"),
        (TimestampTz, "294276-12-31 23:59:59.999999+00", "+294276-12-31T23:59:59.999999Z"),
        (TimestampTz, "infinity", "infinity"),
        (TimestampTz, "2024-05-01 10:00:00", "none"),
        (Time, "10:00:00", "10:00:00"),
        (Time, "24:00:00", "24:00:00"),
        (Time, "10:00:00.000001", "10:00:00.000001"),
        (TimeTz(0), "10:00:00+02", "10:00:00+02:00"),
        (TimeTz(0), "10:00:00-03:30", "10:00:00-03:30"),
        (TimeTz(0), "10:00:00+00", "10:00:00Z"),
    ] {
        let told = parse::parse(text, form).map_or_else(|| "none".to_owned(), |it| it.to_string());
        assert_eq!(told, expected, "{form:?} {text}");
    }
}

#[test]
fn moments_are_ordered_by_time() {
    let guess = |text| parse::guess(text).expect(text);
    let ordered = [
        "-infinity",
        "0044-03-15 00:00:00Z BC",
        "2024-05-01T10:00:00+02:00",
        "2024-05-01T10:00:00Z",
        "infinity",
    ];
    for pair in ordered.windows(2) {
        assert!(guess(pair[0]).compare(&guess(pair[1])).is_some_and(std::cmp::Ordering::is_lt), "{pair:?}");
    }
    assert!(
        guess("2024-05-01").compare(&guess("2024-05-01T00:00:00")).is_some_and(std::cmp::Ordering::is_eq)
    );
    assert_eq!(guess("2024-05-01").compare(&guess("2024-05-01T00:00:00Z")), None);
}

#[test]
fn patterns_print_what_they_say() {
    let moment = parse::guess("2024-05-01T09:08:07.065Z").expect("a timestamp");
    for (text, expected) in [
        ("yyyy-MM-dd", "2024-05-01"),
        ("dd.MM.yy HH:mm:ss.SSS", "01.05.24 09:08:07.065"),
        ("yyyyMMdd'T'HHmmss'Z'", "20240501T090807Z"),
        ("HH 'o''clock'", "09 o'clock"),
        ("ss.SSSSSS", "07.065000"),
        ("", ""),
    ] {
        assert_eq!(pattern::check(text), Ok(()), "{text}");
        assert_eq!(pattern::format(&moment, text).as_deref(), Ok(expected), "{text}");
    }
    for wrong in ["YYYY", "MMM", "h", "yyyy 'x"] {
        assert!(pattern::check(wrong).is_err() && pattern::format(&moment, wrong).is_err(), "{wrong}");
    }
}
