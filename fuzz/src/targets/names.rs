//! Names of finished files: from a stranger's text to one harmless path segment.

use std::path::{Component, Path};

use piton::upload::{
    FinalName, NameParts, NameTemplate, Sha256Digest, Timestamp, UploadId, is_invisible,
};

use crate::input;

/// A template in the first line, the name that a client gave behind it.
pub(crate) fn names(data: &[u8]) {
    let (template, filename) = input::split(data, b"\n").unwrap_or((b"", data));
    let Ok(template) = str::from_utf8(template) else { return };
    let filename = String::from_utf8_lossy(filename);
    let template = match template {
        "" => NameTemplate::default(),
        template => match template.parse::<NameTemplate>() {
            Ok(template) => template,
            Err(_) => return,
        },
    };
    for composite in [None, Some(Sha256Digest::of(b"x"))] {
        let id = UploadId::from_random([7; 16]);
        let at = Timestamp::from_millis(1_700_000_000_000);
        let parts = NameParts { id: &id, filename: Some(&filename), at, composite };
        let name = template.render(&parts);
        harmless(&name);
        assert_eq!(FinalName::parse(name.as_str()), Ok(name.clone()));
        for n in [2, 10_000, u32::MAX] {
            let other = name.numbered(n);
            harmless(&other);
            assert_ne!(other, name, "a name that was taken");
        }
    }
}

/// One plain component of a path, which stays where it is joined to.
pub(crate) fn harmless(name: &FinalName) {
    let text = name.as_str();
    assert!((1..=255).contains(&text.len()), "{} bytes", text.len());
    let mut components = Path::new(text).components();
    assert!(matches!(components.next(), Some(Component::Normal(one)) if one == text), "{text:?}");
    assert_eq!(components.next(), None);
    assert!(!text.chars().any(|c| c == '/' || c == '\0' || is_invisible(c)), "{text:?}");
    assert_eq!(Path::new("/files").join(text).parent(), Some(Path::new("/files")));
}
