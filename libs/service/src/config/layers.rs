//! Lays the layers over each other and makes the typed configuration of them.

use std::path::Path;

use larder_types::Error;

use super::{
    Config, Problem, Problems, print,
    problems::to_error,
    read,
    tree::{Content, Node, Origin, Step, format_path},
    yaml,
};

const PREFIX: &str = "LARDER__";

/// The layers of a configuration, lowest first: a file, the environment, flags. The defaults lie below them all.
#[derive(Debug, Default)]
pub struct Layers {
    upper: Vec<Node>,
    problems: Vec<Problem>,
}

/// A configuration and where each value of it came from.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What is in force.
    pub config: T,
    tree: Node,
}

impl Layers {
    /// The defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the YAML file at `path`. A file that cannot be read is a problem like any other.
    #[must_use]
    pub fn file(self, path: &Path) -> Self {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.yaml(&name, &text),
            Err(error) => self.with_problem(name, format!("cannot be read: {error}")),
        }
    }

    /// Adds YAML text that came from a file called `name`.
    #[must_use]
    pub fn yaml(mut self, name: &str, text: &str) -> Self {
        match yaml::parse(text, name) {
            Ok(node) if matches!(node.content, Content::Table(_)) => self.upper.push(node),
            Ok(node) => {
                let message = format!("must be a table of keys at the top, not {}", node.content.kind());
                return self.with_problem(name.to_owned(), message);
            }
            Err(message) => return self.with_problem(name.to_owned(), message),
        }
        self
    }

    /// Adds the variables that begin with `LARDER__`: `LARDER__SERVER__LISTEN` sets `server.listen`.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut ours: Vec<_> = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort();
        // Each is a layer of its own: none hides another that sets a key around it.
        self.upper.extend(ours.into_iter().map(|(name, value)| {
            let path = name[PREFIX.len()..].to_lowercase();
            let path: Vec<_> = path.split("__").collect();
            Node::alone(&path, Node::new(Content::Loose(value), Origin::Variable(name.as_str().into())))
        }));
        self
    }

    /// Adds one flag, shown as `flag` in messages, that sets the key at `path` (`server.listen`).
    #[must_use]
    pub fn flag(mut self, flag: &str, path: &str, value: impl Into<String>) -> Self {
        let path: Vec<_> = path.split('.').collect();
        self.upper.push(Node::alone(&path, Node::new(Content::Loose(value.into()), Origin::Flag(flag.into()))));
        self
    }

    /// The configuration, or one error that lists every problem of all layers.
    pub fn load<T: Config>(self) -> Result<Loaded<T>, Error> {
        let Self { upper, mut problems } = self;
        let defaults = serde_json::to_value(T::default())
            .map_err(|error| Error::internal("the default configuration cannot be written").with_source(error))?;
        let defaults = Node::of_defaults(defaults);
        let mut tree = defaults.clone();
        for mut layer in upper {
            // No later layer covers such a mistake: it is told as it is where there is none.
            for (path, node) in layer.take_misshapen(&defaults) {
                let mut mistaken = defaults.clone();
                mistaken.replace(&path, node);
                let _: Option<T> = read::read(&mut mistaken, &defaults, &mut problems);
            }
            tree.overlay(layer);
        }
        let asked_for = tree.clone();
        let config: Option<T> = read::read(&mut tree, &defaults, &mut problems);
        if let Some(config) = &config {
            problems.extend(check(config, &asked_for, &problems));
        }
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, tree }),
            _ => Err(to_error(problems)),
        }
    }

    fn with_problem(mut self, origin: String, message: String) -> Self {
        self.problems.push(Problem { path: String::new(), origin, message });
        self
    }
}

impl<T: Config> Loaded<T> {
    /// What is in force, as YAML that could be a file, each value with where it came from; secrets are `****`.
    pub fn print(&self) -> Result<String, Error> {
        let value = serde_json::to_value(&self.config)
            .map_err(|error| Error::internal("the configuration cannot be written").with_source(error))?;
        Ok(print::print(&value, &self.tree))
    }
}

/// What `config` itself finds wrong, save where reading has found something already.
fn check<T: Config>(config: &T, tree: &Node, known: &[Problem]) -> Vec<Problem> {
    let mut problems = Problems::default();
    config.check(&mut problems);
    let found = problems.into_found().into_iter().map(|(path, message)| {
        let path: Vec<_> = path.into_iter().map(Step::Key).collect();
        Problem { path: format_path(&path), origin: tree.origin_at(&path).to_string(), message }
    });
    found.filter(|problem| known.iter().all(|other| other.path != problem.path)).collect()
}
