//! The conformance vectors that all SDKs share, see `sdks/conformance/README.md`.

#[path = "vectors/comparison.rs"]
mod comparison;
#[path = "vectors/fixtures.rs"]
mod fixtures;
#[path = "vectors/operations.rs"]
mod operations;
#[allow(dead_code)]
#[rustfmt::skip]
#[path = "chapter/process_order.rs"]
mod process_order;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{json, Map, Value};

const LANGUAGE: &str = "rs";

/// The areas that Rust takes part in.
const AREAS: [&str; 12] = ["A", "B", "C", "E", "G", "J", "K", "P", "R", "T", "V", "X"];

/// One vector, with what it says for Rust alone.
struct Vector {
    id: String,
    area: String,
    fields: Map<String, Value>,
}

impl Vector {
    fn of_rust(value: &Value) -> Option<Self> {
        let runs_it = value["langs"].as_array()?.iter().any(|language| language == LANGUAGE);
        let mut fields = value.as_object()?.clone();
        let own = fields.get("overrides").and_then(|overrides| overrides[LANGUAGE].as_object()).cloned();
        if let Some(own) = own {
            if own.contains_key("expect") || own.contains_key("expect_error") {
                fields.remove("expect");
                fields.remove("expect_error");
            }
            fields.extend(own);
        }
        let text = |key: &str| fields[key].as_str().map(str::to_owned);
        runs_it.then_some(Self { id: text("id")?, area: text("area")?, fields })
    }

    fn get(&self, key: &str) -> &Value {
        self.fields.get(key).unwrap_or(&Value::Null)
    }

    fn text(&self, key: &str) -> &str {
        self.get(key).as_str().unwrap_or_default()
    }

    /// The base's lease with the vector's handler and changes.
    fn lease(&self, base: &Value) -> Value {
        let mut lease = base.clone();
        if let Some(handler) = self.fields.get("handler") {
            lease["task_sequence_step"]["step_definition"]["handler"]["callable"] = handler.clone();
        }
        for (pointer, value) in self.get("patch").as_object().into_iter().flatten() {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
            lease.pointer_mut(parent).expect("the object that holds it exists")[key] = value.clone();
        }
        lease
    }

    /// What is wrong with the operation's result, if anything is.
    async fn run(&self, base: &Value) -> Result<(), String> {
        let arguments = self.get("args").as_array().cloned().unwrap_or_default();
        let outcome = operations::perform(self.text("op"), self.lease(base), &arguments).await;
        match (outcome, self.get("expect_error") == &json!(true)) {
            (Err(operations::Failure::Unknown), _) => Err(format!("unknown operation {}", self.text("op"))),
            (Err(operations::Failure::Failed(_)), true) => Ok(()),
            (Err(operations::Failure::Failed(error)), false) => Err(format!("failed: {error:#}")),
            (Ok(actual), true) => Err(format!("did not fail, but came to {actual}")),
            (Ok(actual), false) => comparison::compare(&self.fields, &actual),
        }
    }
}

fn base_and_vectors() -> (Value, Vec<Vector>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../conformance/vectors.json");
    let text = std::fs::read_to_string(path).expect("the vectors are in the repository");
    let file: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    let vectors = file["vectors"].as_array().expect("there is a list of vectors");
    (file["base"].clone(), vectors.iter().filter_map(Vector::of_rust).collect())
}

#[tokio::test]
async fn every_vector_of_rust_holds() {
    let (base, vectors) = base_and_vectors();
    let mut wrong = Vec::new();
    for vector in &vectors {
        if let Err(problem) = vector.run(&base).await {
            wrong.push(format!("{}: {problem}", vector.id));
        }
    }
    assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn there_are_vectors_in_every_area() {
    let (_, vectors) = base_and_vectors();
    let areas: BTreeSet<&str> = vectors.iter().map(|vector| vector.area.as_str()).collect();
    let missing: Vec<_> = AREAS.iter().filter(|area| !areas.contains(**area)).collect();
    assert!(missing.is_empty(), "no vectors in {missing:?}");
}
