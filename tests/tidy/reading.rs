//! Sources as the rules see them: code without comments and strings, tokens, paths.

use std::collections::BTreeSet;

/// The text with comments, strings and characters blanked; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let in_name = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => end_of_line(&chars, at),
            ('/', Some('*')) => end_of_block_comment(&chars, at),
            ('"', _) => end_of_quoted(&chars, at + 1, '"'),
            ('\'', Some('\\')) => end_of_quoted(&chars, at + 1, '\''),
            ('\'', _) if chars.get(at + 2) == Some(&'\'') => at + 3,
            ('r', Some('"' | '#')) if !in_name || chars[at - 1] == 'b' => {
                end_of_raw_string(&chars, at + 1).unwrap_or(at)
            }
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            let end = end.min(chars.len());
            code.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    code
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    let length = chars[from..].iter().position(|c| *c == '\n');
    length.map_or(chars.len(), |length| from + length)
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Behind the closing quote; `from` is behind the opening one.
fn end_of_quoted(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `from` is behind the `r`. `None`: a raw name, not a string.
fn end_of_raw_string(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + hashes) != Some(&'"') {
        return None;
    }
    let mut at = from + hashes + 1;
    while at < chars.len() {
        let closing = &chars[at + 1..(at + 1 + hashes).min(chars.len())];
        if chars[at] == '"' && closing.len() == hashes && closing.iter().all(|c| *c == '#') {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

/// The code without the items that are only there for tests.
pub(crate) fn production(text: &str) -> String {
    let code = code_of(text);
    let of_tests = lines_of_tests(&code);
    let kept = (1..).zip(code.lines()).map(|(line, content)| {
        if of_tests.contains(&line) {
            ""
        } else {
            content
        }
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// The lines of the items that are only there for tests, from their attribute on.
pub(crate) fn lines_of_tests(code: &str) -> BTreeSet<usize> {
    let tokens = tokens(code);
    let mut lines = BTreeSet::new();
    for (index, first) in tokens.iter().enumerate() {
        let Some(item) = behind_test_attribute(&tokens[index..]) else {
            continue;
        };
        let last = last_line_of_item(item).unwrap_or(usize::MAX);
        lines.extend((first.line..=last).take_while(|line| *line <= code.lines().count()));
    }
    lines
}

/// What follows `#[cfg(test)]`, if these tokens begin with it.
pub(crate) fn behind_test_attribute(tokens: &[Token]) -> Option<&[Token]> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (attribute, behind) = tokens.split_at_checked(ATTRIBUTE.len())?;
    let same = attribute
        .iter()
        .zip(ATTRIBUTE)
        .all(|(token, text)| token.text == text);
    same.then_some(behind)
}

pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    pub(crate) fn is_name(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Names, `::`, and every other character that is no white space.
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut line, mut rest) = (1, code);
    while let Some(first) = rest.chars().next() {
        let name = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let length = match first {
            _ if name > 0 => name,
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (text, behind) = rest.split_at(length);
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            tokens.push(Token {
                line,
                text: text.to_owned(),
            });
        }
        rest = behind;
    }
    tokens
}

/// Where the item that begins here ends: at its `;`, or at the brace that closes its body.
pub(crate) fn last_line_of_item(tokens: &[Token]) -> Option<usize> {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for token in tokens {
        match token.text.as_str() {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            "{" => braces += 1,
            "}" if braces <= 1 => return Some(token.line),
            "}" => braces -= 1,
            ";" if brackets == 0 && braces == 0 => return Some(token.line),
            _ => {}
        }
    }
    None
}

/// A path that is named in the code, resolved as far as `self` and `super` go.
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    /// The end of a `use`: the name is there for the whole module.
    pub(crate) imported: bool,
}

pub(crate) fn paths(path: &str, code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut named = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        // `use<…>` in a type is something else.
        let precise = tokens.get(at + 1).is_some_and(|next| next.text == "<");
        if token.text == "use" && !precise {
            at = read_use(&tokens, at + 1, &[], &mut named);
        } else if token.is_name() {
            let (line, mut segments) = (token.line, vec![token.text.clone()]);
            while let [separator, next, ..] = &tokens[at + 1..]
                && separator.text == "::"
                && next.is_name()
            {
                segments.push(next.text.clone());
                at += 2;
            }
            named.push(Named {
                line,
                segments,
                imported: false,
            });
            at += 1;
        } else {
            at += 1;
        }
    }
    for name in &mut named {
        name.segments = resolved(path, std::mem::take(&mut name.segments));
    }
    named
}

/// Reads one tree of a `use`, and gives where the next one begins.
fn read_use(tokens: &[Token], from: usize, before: &[String], named: &mut Vec<Named>) -> usize {
    let mut segments = before.to_vec();
    let mut at = from;
    let line = tokens.get(from).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text.as_str() {
            "::" | "*" => {}
            "as" => at += 1,
            "{" => {
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = read_use(tokens, at, &segments, named);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "self" if !segments.is_empty() => {}
            name if token.is_name() => segments.push(name.to_owned()),
            // Whatever ends a tree is the caller's.
            _ => {
                at -= 1;
                break;
            }
        }
    }
    named.push(Named {
        line,
        segments,
        imported: true,
    });
    at
}

fn resolved(path: &str, segments: Vec<String>) -> Vec<String> {
    if !matches!(segments.first().map(String::as_str), Some("self" | "super")) {
        return segments;
    }
    let Some(inside) = path.strip_prefix("src/") else {
        return segments;
    };
    let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    let mut module: Vec<String> = std::iter::once("crate")
        .chain(
            inside
                .split('/')
                .filter(|name| !matches!(*name, "lib" | "main")),
        )
        .map(str::to_owned)
        .collect();
    let ups = segments.iter().take_while(|name| *name == "super").count();
    module.truncate(module.len().saturating_sub(ups).max(1));
    let rest = segments
        .into_iter()
        .filter(|name| name != "super" && name != "self");
    module.into_iter().chain(rest).collect()
}
