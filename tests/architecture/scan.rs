//! Every path that a source file names, resolved to a room of this crate or to another crate.

use std::collections::HashMap;

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};

/// One path that a file names, in a `use`, an expression, an attribute or inside a macro's arguments.
pub(crate) struct Named {
    /// Segments from the crate's root (`["token", "App"]`) or from another crate's name
    /// (`["axum", "Router"]`); a glob ends in `*`.
    pub(crate) segments: Vec<String>,
    /// Whether the path starts in this crate.
    pub(crate) inside: bool,
    /// Whether it stands in code that exists only for tests.
    pub(crate) for_tests: bool,
    /// The line it starts on, counted from 1.
    pub(crate) line: usize,
}

/// A path as written, with the module it was written in.
struct Written {
    segments: Vec<String>,
    module: Vec<String>,
    for_tests: bool,
    line: usize,
}

/// Everything that `source`, the text of the module `module` (`["token", "mint"]`; empty for the root),
/// names. Comments and strings name nothing. Words are read rather than syntax, so that a path inside
/// `select!` or `info!` counts like any other.
///
/// # Errors
/// When the text doesn't consist of Rust's words.
pub(crate) fn named(source: &str, module: &[String]) -> Result<Vec<Named>, LexError> {
    let mut scan = Scan::default();
    scan.walk(source.parse()?, module, false);
    let Scan { written, bound } = scan;
    Ok(written
        .into_iter()
        .map(|path| {
            let (inside, segments) = resolve(&path.segments, &path.module, &bound);
            Named {
                segments,
                inside,
                for_tests: path.for_tests,
                line: path.line,
            }
        })
        .collect())
}

#[derive(Default)]
struct Scan {
    written: Vec<Written>,
    /// What a plain name stands for in this file: a `use`, or a child module.
    bound: HashMap<String, (bool, Vec<String>)>,
}

impl Scan {
    fn walk(&mut self, stream: TokenStream, module: &[String], for_tests: bool) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        // From a `#[cfg(test)]` to the end of the item under it.
        let mut item_for_tests = false;
        while at < trees.len() {
            let for_tests = for_tests || item_for_tests;
            match &trees[at] {
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Bracket
                        && at > 0
                        && is_punct(&trees[at - 1], '#')
                        && group.stream().to_string().replace(' ', "") == "cfg(test)"
                    {
                        item_for_tests = true;
                    }
                    self.walk(group.stream(), module, for_tests);
                    if group.delimiter() == Delimiter::Brace {
                        item_for_tests = false;
                    }
                    at += 1;
                }
                TokenTree::Ident(word) if word == "mod" => {
                    let name = trees.get(at + 1).map(ToString::to_string);
                    let name = name.unwrap_or_default();
                    let child = [module, std::slice::from_ref(&name)].concat();
                    self.bound.insert(name, (true, child.clone()));
                    if let Some(TokenTree::Group(body)) = trees.get(at + 2) {
                        self.walk(body.stream(), &child, for_tests);
                        item_for_tests = false;
                        at += 1;
                    }
                    at += 2;
                }
                // Not the `use<'a>` of a return type.
                TokenTree::Ident(word)
                    if word == "use" && trees.get(at + 1).is_some_and(|t| !is_punct(t, '<')) =>
                {
                    let end = (at..trees.len())
                        .find(|&i| is_punct(&trees[i], ';'))
                        .unwrap_or(trees.len());
                    self.tree(&trees[at + 1..end], &[], module, for_tests);
                    at = end;
                }
                TokenTree::Ident(_) if at > 0 && is_punct(&trees[at - 1], '.') => at += 1,
                TokenTree::Ident(word) => {
                    let line = word.span().start().line;
                    let mut segments = vec![word.to_string()];
                    at += 1;
                    while is_separator(&trees, at) {
                        let Some(TokenTree::Ident(next)) = trees.get(at + 2) else {
                            break;
                        };
                        segments.push(next.to_string());
                        at += 3;
                    }
                    if segments.len() > 1 {
                        self.written.push(Written {
                            segments,
                            module: module.to_vec(),
                            for_tests,
                            line,
                        });
                    }
                }
                tree => {
                    if is_punct(tree, ';') {
                        item_for_tests = false;
                    }
                    at += 1;
                }
            }
        }
    }

    /// A `use` tree below `prefix`: `a::b`, `a::{b, c as d}`, `a::*`.
    fn tree(&mut self, trees: &[TokenTree], prefix: &[String], module: &[String], for_tests: bool) {
        for branch in trees.split(|tree| is_punct(tree, ',')) {
            let Some(first) = branch.first() else {
                continue;
            };
            let line = first.span().start().line;
            let mut segments = prefix.to_vec();
            let mut alias = None;
            let mut grouped = false;
            for (at, tree) in branch.iter().enumerate() {
                match tree {
                    TokenTree::Group(group) => {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.tree(&inner, &segments, module, for_tests);
                        grouped = true;
                    }
                    TokenTree::Ident(word) if word == "as" => {
                        alias = branch.get(at + 1).map(ToString::to_string);
                        break;
                    }
                    // `a::{self}` names `a`.
                    TokenTree::Ident(word) if word == "self" && !segments.is_empty() => {}
                    TokenTree::Ident(word) => segments.push(word.to_string()),
                    tree if is_punct(tree, '*') => segments.push("*".to_owned()),
                    _ => {}
                }
            }
            let Some(last) = segments.last().filter(|_| !grouped) else {
                continue;
            };
            let name = alias.unwrap_or_else(|| last.clone());
            // `use tokio;` binds a crate's name to itself: there is nothing to look up.
            if segments != [name.clone()] {
                let meaning = resolve(&segments, module, &HashMap::new());
                self.bound.insert(name, meaning);
            }
            self.written.push(Written {
                segments,
                module: module.to_vec(),
                for_tests,
                line,
            });
        }
    }
}

/// Where a path leads: whether into this crate, and its segments from there.
fn resolve(
    path: &[String],
    module: &[String],
    bound: &HashMap<String, (bool, Vec<String>)>,
) -> (bool, Vec<String>) {
    let supers = path.iter().take_while(|word| *word == "super").count();
    match path {
        [first, rest @ ..] if first == "crate" => (true, rest.to_vec()),
        [first, rest @ ..] if first == "self" && rest.first().is_none_or(|w| w != "super") => {
            (true, [module, rest].concat())
        }
        [first, rest @ ..] if first == "self" => resolve(rest, module, bound),
        _ if supers > 0 => {
            let above = &module[..module.len().saturating_sub(supers)];
            (true, [above, &path[supers..]].concat())
        }
        [first, rest @ ..] => match bound.get(first) {
            Some((inside, meaning)) => (*inside, [meaning.as_slice(), rest].concat()),
            None => (false, path.to_vec()),
        },
        [] => (false, Vec::new()),
    }
}

fn is_punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_separator(trees: &[TokenTree], at: usize) -> bool {
    trees.len() > at + 1 && is_punct(&trees[at], ':') && is_punct(&trees[at + 1], ':')
}
