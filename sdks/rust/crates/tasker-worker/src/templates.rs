//! The worker's templates, which it registers at the start.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use tasker_client::{ClientError, ErrorKind, HandlerReference, TemplateRegistration};
use tasker_shared::types::TaskSequenceStep;
use tracing::warn;

use crate::error::WorkerError;
use crate::logging::TARGET;
use crate::worker::handlers::StepHandlerRegistry;

/// A template file.
#[derive(Clone, Debug)]
pub(crate) struct TemplateFile {
    pub path: PathBuf,
    pub text: String,
}

/// What the registered templates say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registered {
    pub namespaces: BTreeSet<String>,
    pub handlers: Vec<HandlerReference>,
}

impl Registered {
    /// Takes in what the server said of a file.
    ///
    /// # Errors
    /// The worker must not start with it.
    pub fn take(&mut self, file: &Path, answer: Result<TemplateRegistration, ClientError>) -> Result<(), WorkerError> {
        match answer {
            Ok(registration) => {
                self.namespaces.insert(registration.namespace);
                self.handlers.extend(registration.handlers);
                Ok(())
            }
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                warn!(target: TARGET, template = %file.display(), reason = %error, "template_not_registered");
                Ok(())
            }
            Err(error) if error.kind == ErrorKind::CredentialsRefused => Err(WorkerError::Refused(error.to_string())),
            Err(error) => Err(WorkerError::Template(format!("{}: {error}", file.display()))),
        }
    }

    /// The callables that the registry has handlers for, and those that it has none for.
    pub async fn callables(&self, registry: &dyn StepHandlerRegistry) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut found: BTreeSet<String> = registry.registered_handlers().into_iter().collect();
        let mut missing = BTreeSet::new();
        for reference in &self.handlers {
            if found.contains(&reference.callable) {
                continue;
            }
            if has_handler(registry, reference).await {
                found.insert(reference.callable.clone());
            } else {
                missing.insert(reference.callable.clone());
            }
        }
        (found, missing)
    }
}

async fn has_handler(registry: &dyn StepHandlerRegistry, reference: &HandlerReference) -> bool {
    let step = json!({"task": {}, "workflow_step": {}, "step_definition": {"handler": reference}});
    match serde_json::from_value::<TaskSequenceStep>(step) {
        Ok(step) => registry.get(&step).await.is_some(),
        Err(_) => false,
    }
}

/// Reads a template file, or all `*.yaml` and `*.yml` below a directory, in order of their names.
///
/// # Errors
/// The path or a file cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<TemplateFile>, WorkerError> {
    let cannot = |path: &Path, error: io::Error| WorkerError::Template(format!("{}: {error}", path.display()));
    let mut paths = Vec::new();
    if path.is_dir() {
        collect(path, &mut paths).map_err(|error| cannot(path, error))?;
        paths.sort();
    } else {
        paths.push(path.to_owned());
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|error| cannot(&path, error))?;
        Ok(TemplateFile { path, text })
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            found.push(path);
        }
    }
    Ok(())
}
