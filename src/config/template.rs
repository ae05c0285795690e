//! The name of a finished file.

/// Checks a template; what it returns is the text itself.
///
/// A template is literal text with placeholders in braces. It has to tell apart two files that
/// were sent under one name, and cannot leave the folder it names a file in.
pub(super) fn name_template(text: &str) -> Result<String, String> {
    if text.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    if text.contains('/') || text.contains(char::is_control) {
        return Err("has a slash or a control character".to_owned());
    }
    let names = placeholders(text)?;
    if let Some(name) = names.iter().find(|name| !DISTINCT.contains(name) && !PLAIN.contains(name))
    {
        return Err(format!("has an unknown placeholder {{{name}}}; there are {}", all_names()));
    }
    if !names.iter().any(|name| DISTINCT.contains(name)) {
        return Err("has none of {digest8}, {digest}, {id} and {time}, \
                    so that two files of one name would meet"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// The names in braces, in order. A brace has no other use.
fn placeholders(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else {
            return Err("has a { without its }".to_owned());
        };
        if literal.contains('}') {
            return Err("has a } without its {".to_owned());
        }
        names.push(name);
        rest = tail;
    }
    if rest.contains('}') { Err("has a } without its {".to_owned()) } else { Ok(names) }
}

fn all_names() -> String {
    let names: Vec<String> =
        PLAIN.iter().chain(&DISTINCT).map(|name| format!("{{{name}}}")).collect();
    names.join(", ")
}

/// Placeholders that differ from upload to upload.
const DISTINCT: [&str; 4] = ["time", "digest", "digest8", "id"];

/// Placeholders that come from the name the client gave.
const PLAIN: [&str; 2] = ["stem", "ext"];

/// Leaves room for the stem: file systems end names at 255 bytes.
const LONGEST: usize = 128;
