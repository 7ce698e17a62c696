//! The OpenAPI document as one readable page, without a script or an address elsewhere.

use std::fmt::Write;

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;background:#fff}\
code,pre{font:14px/1.4 ui-monospace,monospace}h2{margin-top:3rem}pre{overflow:auto;padding:1rem;background:#f4f4f7}\
table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.25rem 1rem .25rem 0;border-bottom:1px solid #ddd}\
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#16161a}pre{background:#222228}td,th{border-color:#444}a{color:#9cf}}";

/// The page.
pub(super) fn render(document: &Value) -> String {
    let mut page = String::new();
    let title = text(&document["info"]["title"]);
    let version = text(&document["info"]["version"]);
    // A String takes whatever is written to it.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title} {version}</h1><p>{} \
         The same for programs: <a href=\"/openapi.json\">openapi.json</a>.</p>",
        text(&document["info"]["description"])
    );
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in members(item) {
            if method != "parameters" {
                show(&mut page, path, method, operation);
            }
        }
    }
    for (name, schema) in members(&document["components"]["schemas"]) {
        let _ = write!(page, "<h2 id=\"{0}\">{0}</h2>", escape(name));
        show_schema(&mut page, schema);
    }
    page.push_str("</html>");
    page
}

fn show(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<h2><code>{} {}</code></h2><p>{}. {}</p>",
        escape(&method.to_uppercase()),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"])
    );
    for (kind, content) in members(&operation["requestBody"]["content"]) {
        let _ = write!(page, "<p>Body, <code>{}</code>:</p>", escape(kind));
        show_schema(page, &content["schema"]);
    }
    page.push_str("<table><tr><th>status</th><th>meaning</th><th>body</th></tr>");
    for (status, response) in members(&operation["responses"]) {
        let kinds: Vec<_> = members(&response["content"])
            .map(|(kind, _)| escape(kind))
            .collect();
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(status),
            text(&response["description"]),
            kinds.join("<br>")
        );
    }
    page.push_str("</table>");
}

fn show_schema(page: &mut String, schema: &Value) {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        let _ = write!(page, "<p><a href=\"#{0}\">{0}</a></p>", escape(name));
        return;
    }
    let json = format!("{schema:#}");
    let _ = write!(page, "<pre>{}</pre>", escape(&json));
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (&**name, value))
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_path_and_needs_nothing_from_elsewhere() {
        let document = crate::http::openapi();
        let page = render(&document);
        for (path, _) in members(&document["paths"]) {
            assert!(page.contains(path), "{path}");
        }
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("//"));
    }
}
