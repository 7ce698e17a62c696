//! The JSON Schema of the configuration, made from the raw types.

use serde_json::Value;

use super::raw;

/// The JSON Schema (2020-12) of the configuration file; made each time, as it is needed seldom and is large.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(raw::Configuration).to_value();
    drop_null(&mut schema);
    schema
}

/// TOML has no null: a key that may be left out is only absent.
fn drop_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    members["type"] = only.clone();
                }
            }
            if let Some(Value::Array(branches)) = members.get_mut("anyOf") {
                branches.retain(|branch| branch["type"] != "null");
                if let [only] = branches.as_mut_slice()
                    && let Value::Object(only) = only.take()
                {
                    members.remove("anyOf");
                    members.extend(only);
                }
            }
            members.values_mut().for_each(drop_null);
        }
        _ => {}
    }
}
