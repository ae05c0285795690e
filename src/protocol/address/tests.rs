//! Paths in, URLs out.

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn id() -> UploadId {
    UploadId::parse(ID).unwrap()
}

#[test]
fn a_base_path_has_slashes_around_plain_segments() {
    for text in ["/files", "/files/"] {
        assert_eq!(text.parse(), Ok(BasePath::default()));
    }
    assert_eq!("/".parse::<BasePath>().unwrap().as_str(), "/");
    assert_eq!("/a/b-1.2_~".parse::<BasePath>().unwrap().as_str(), "/a/b-1.2_~/");
    for text in ["", "files", "//", "/a//b", "/../", "/a/.", "/a b", "/a%20", "/é", "/a?b", "/a#"]
    {
        assert_eq!(text.parse::<BasePath>(), Err(ParseAddressError::BasePath), "{text}");
    }
}

#[test]
fn the_base_answers_with_and_without_its_slash() {
    let base = BasePath::default();
    assert_eq!(base.strip("/files"), Some(""));
    assert_eq!(base.strip("/files/"), Some(""));
    assert_eq!(base.strip("/files/x/"), Some("x/"));
    for outside in ["", "/", "/filesx", "/file", "/upload", "*"] {
        assert_eq!(base.strip(outside), None, "{outside}");
    }
}

// spec: CORE-6
#[test]
fn links_are_path_absolute_or_public() {
    let links = Links::default();
    assert_eq!(links.upload(&id()).as_str(), format!("/files/{ID}"));
    assert_eq!(links.status(&id()).as_str(), format!("/upload/status?upload_id={ID}"));
    let public = Links { public: Some("https://up.example/x/".parse().unwrap()), ..links };
    assert_eq!(public.upload(&id()).as_str(), format!("https://up.example/x/files/{ID}"));
    assert_eq!(public.upload(&id()).header(), format!("https://up.example/x/files/{ID}"));
}

#[test]
fn a_public_url_has_a_scheme_and_a_host() {
    for text in ["http://localhost:1080", "https://up.example", "https://up.example/x/y/"] {
        assert!(text.parse::<PublicUrl>().is_ok(), "{text}");
    }
    for text in [
        "",
        "up.example",
        "ftp://a",
        "https://",
        "https:///x",
        "https://a b",
        "https://a?b",
        "https://a#b",
        "https://é",
    ] {
        assert_eq!(text.parse::<PublicUrl>(), Err(ParseAddressError::PublicUrl), "{text}");
    }
}
