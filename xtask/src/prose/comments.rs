//! The line comments of a Rust (or CUDA) source: `//`, `///` and `//!`. A string that holds one is none.

use super::paragraph::Paragraph;

/// One line that carries a comment.
#[derive(Debug, PartialEq)]
pub(super) struct Comment<'a> {
    pub(super) line: usize,
    /// `//`, `///` or `//!`.
    marker: &'static str,
    /// Whether code stands before it on its line.
    trailing: bool,
    text: &'a str,
}

/// Returns the line comments of `source` in order.
pub(super) fn of(source: &str) -> Vec<Comment<'_>> {
    let (mut found, mut at, mut line, mut line_start) = (Vec::new(), 0, 1, 0);
    while at < source.len() {
        let rest = &source[at..];
        let end = at + token(rest);
        if rest.starts_with("//") {
            let marker =
                ["///", "//!", "//"].into_iter().find(|marker| rest.starts_with(marker)).unwrap_or("//");
            let trailing = !source[line_start..at].trim().is_empty();
            found.push(Comment { line, marker, trailing, text: &source[at + marker.len()..end] });
        }
        for (newline, _) in source[at..end].match_indices('\n') {
            line += 1;
            line_start = at + newline + 1;
        }
        at = end;
    }
    found
}

/// Returns the paragraphs that neighbouring comments make. Code blocks in them are left out.
pub(super) fn paragraphs(comments: &[Comment<'_>]) -> Vec<Paragraph> {
    let (mut made, mut current, mut fenced) = (Vec::new(), Paragraph::default(), false);
    let mut before: Option<&Comment<'_>> = None;
    for comment in comments {
        let goes_on = before.is_some_and(|before| {
            before.line + 1 == comment.line
                && before.marker == comment.marker
                && !before.trailing
                && !comment.trailing
        });
        if !goes_on {
            made.extend(current.take());
            fenced = false;
        }
        before = Some(comment);
        let text = comment.text.trim();
        let fence = text.starts_with("```");
        if fence || text.is_empty() || fenced {
            made.extend(current.take());
            fenced ^= fence;
            continue;
        }
        if text.starts_with(['#', '|']) || text.starts_with("- ") || text.starts_with("* ") {
            made.extend(current.take());
        }
        current.push(comment.line, text.trim_start_matches(['#', '-', '*', '|', ' ']));
    }
    made.extend(current.take());
    made
}

/// Returns the length of the comment, string, character or other piece of source that `rest` begins with.
fn token(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(hashes) = raw_string(rest) {
        let open = rest.find('"').map_or(rest.len(), |quote| quote + 1);
        let close = format!("\"{}", "#".repeat(hashes));
        return rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len());
    }
    match rest.as_bytes()[0] {
        b'"' => quoted(rest, '"').unwrap_or(rest.len()),
        b'\'' => character(rest),
        first if first.is_ascii_alphanumeric() || first == b'_' => {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        }
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// Returns the length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Returns the number of `#` of the raw string that `rest` begins with, if it does.
fn raw_string(rest: &str) -> Option<usize> {
    let inside = ["r", "br", "cr"]
        .into_iter()
        .find_map(|prefix| rest.strip_prefix(prefix).filter(|after| after.starts_with(['"', '#'])))?;
    let hashes = inside.len() - inside.trim_start_matches('#').len();
    inside[hashes..].starts_with('"').then_some(hashes)
}

/// Returns the length of the quoted text that `rest` begins with, unless it is never closed.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Returns the length of a character literal, or of the quote alone that begins a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => quoted(rest, '\'').unwrap_or(1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(usize, String)> {
        of(source).iter().map(|one| (one.line, one.text.trim().to_owned())).collect()
    }

    #[test]
    fn all_three_kinds_with_their_lines() {
        let source = "//! a\n/// b\nfn f() {} // c\n// d";
        let expected = [(1, "a"), (2, "b"), (3, "c"), (4, "d")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(texts(source), expected);
    }

    #[test]
    fn strings_characters_and_lifetimes_hide_none_and_make_none() {
        for source in [
            "let a = \"// no\"; // yes",
            "let a = \"\\\"// no\"; // yes",
            "let a = r#\"\"// no\"#; // yes",
            "let a = br\"\\\"; // yes",
            "let a = b'\"'; // yes",
            "let a = '\\''; // yes",
            "fn f<'a>(x: &'a str) {} // yes",
            "let r = 1; let bar = r; // yes",
            "/* // no /* nested */ // no */ // yes",
            "let é = 'é'; // yes",
        ] {
            assert_eq!(texts(source), [(1, "yes".to_owned())], "{source}");
        }
        assert_eq!(texts("let a = \"two\n// no\n\"; // yes"), [(3, "yes".to_owned())]);
    }

    #[test]
    fn what_never_ends_ends_with_the_file() {
        for source in ["\"// no", "r#\"// no", "/* // no", "'", "'\\", "/* /*"] {
            assert_eq!(texts(source), [], "{source}");
        }
    }

    #[test]
    fn neighbours_are_one_paragraph() {
        let source = "/// One\n/// goes on.\n///\n/// - Two\n/// ```\n/// let who = 1;\n/// ```\n/// Three\nfn f() {} // Four\n// Five\n";
        let found: Vec<_> = paragraphs(&of(source))
            .iter()
            .flat_map(|one| one.sentences().iter().map(|s| s.text.to_owned()).collect::<Vec<_>>())
            .collect();
        assert_eq!(found, ["One goes on.", "Two", "Three", "Four", "Five"]);
    }
}
