//! What can be opened, and what must not be shown.

use super::*;

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    for location in [
        "s3://AKIA:canary@bucket/x",
        "s3://canary@bucket/x",
        "az://container:canary@account/x",
        "https://account.blob.core.windows.net/c?sig=canary",
        "s3://bucket/x#canary",
    ] {
        let error = Store::open(location, &quick()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{location}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    for location in ["http://host/x", "https://host/x", "ftp://host/x"] {
        let error = Store::open(location, &quick()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{location}");
    }
}

#[test]
fn options_reach_the_remote_store_and_stay_secret() {
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut options = quick();
    options.options = vec![
        option("aws_access_key_id", "id"),
        option("AWS_SECRET_ACCESS_KEY", "canary"),
        option("region", "eu-1"),
    ];
    let store = Store::open("s3://bucket/some/repo", &options).unwrap();
    assert_eq!(store.location(), "s3://bucket/some/repo");
    assert!(!format!("{store:?} {options:?} {:?}", store.inner.backend).contains("canary"));
    options.options.push(option("no_such_option", "canary"));
    let error = Store::open("s3://bucket/x", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.context("option"), Some("no_such_option"));
    assert!(!format!("{error:?}").contains("canary"));
}
