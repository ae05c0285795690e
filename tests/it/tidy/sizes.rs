//! Functions, files and lines that fit before the eyes.

use super::source::{Source, Token};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

/// What is too long.
pub fn complaints(source: &Source) -> Vec<String> {
    let place = source.path.display();
    let mut found = Vec::new();
    for (name, line, length) in functions(&source.tokens) {
        if length > FUNCTION_LINES_MAX {
            found.push(format!("{place}:{line}: fn {name} has {length} lines"));
        }
    }
    let lines = source.text.lines().count();
    if source.path.starts_with("src") && lines > FILE_LINES_MAX {
        found.push(format!("{place}: {lines} lines"));
    }
    for (at, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            found.push(format!("{place}:{}: {columns} columns", at + 1));
        }
    }
    found
}

/// Name, first line and number of lines of each function that has a body.
fn functions(tokens: &[Token]) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    for at in 0..tokens.len().saturating_sub(1) {
        let name = &tokens[at + 1].text;
        let named = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if tokens[at].text == "fn"
            && named
            && let Some(end) = end_of_body(tokens, at)
        {
            let line = tokens[at].line;
            found.push((name.as_str(), line, tokens[end].line - line + 1));
        }
    }
    found
}

/// The closing brace of the function that begins at `at`.
fn end_of_body(tokens: &[Token], at: usize) -> Option<usize> {
    let (mut depth, mut inside) = (0_usize, false);
    for (at, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" if depth == 0 => (depth, inside) = (1, true),
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            ";" if depth == 0 => return None,
            _ => {}
        }
        if inside && depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_about(path: &str, text: &str) -> Vec<String> {
        complaints(&Source::new(path, text))
    }

    #[test]
    fn long_functions_are_found_and_long_traits_are_not() {
        let body = "    x();\n";
        let long = format!("fn a(b: [u8; 3]) {{\n{}}}\n", body.repeat(69));
        assert_eq!(complaints_about("src/a.rs", &long), ["src/a.rs:1: fn a has 71 lines"]);
        let short = format!("fn a() {{\n{}}}\n", body.repeat(68));
        assert!(complaints_about("src/a.rs", &short).is_empty());
        let signatures = format!("trait T {{\n{}}}\n", "    fn a(&self);\n".repeat(100));
        assert!(complaints_about("src/a.rs", &signatures).is_empty());
        let in_a_module = format!("mod m {{ impl T {{ {long} }} }}");
        assert_eq!(complaints_about("src/a.rs", &in_a_module).len(), 1);
    }

    #[test]
    fn long_files_and_lines_are_found() {
        let file = "// a\n".repeat(601);
        assert_eq!(complaints_about("src/a.rs", &file), ["src/a.rs: 601 lines"]);
        assert!(complaints_about("tests/it/a.rs", &file).is_empty());
        let line = format!("// {}", "é".repeat(98));
        assert_eq!(complaints_about("src/a.rs", &line), ["src/a.rs:1: 101 columns"]);
        assert!(complaints_about("src/a.rs", &line.replacen('é', "", 1)).is_empty());
    }
}
