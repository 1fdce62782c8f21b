//! `larder up`: every service in this process. Configuration in, [`larder_standalone`] does the rest.

use std::path::PathBuf;

use larder_service::{
    config::{Layers, Loaded},
    telemetry,
};
use larder_standalone::{Addresses, Config, Deps};
use larder_types::Error;
use serde_json::{Value, json};

use super::Context;
use crate::{
    console::Report,
    environment,
    exit::Exit,
    failure::{Failure, Outcome},
    render::Paint,
};

/// Run all services in one process, with nothing to install
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder up --data /var/lib/larder\n\n\
    Settings come from --config, then the environment (LARDER__SERVING__SERVER__LISTEN is serving.server.listen), then \
    --set; --print-config shows all of them, and where each comes from. Parquet sources, spines and training sets may lie \
    under materializer.roots: this folder, unless it is set.\n\
    SIGTERM and Ctrl-C stop it in order; a second one at once.")]
pub(crate) struct Arguments {
    /// The folder for all data: Larder's own, an empty one, or one to be made
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// A YAML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, e.g. serving.server.listen=127.0.0.1:7567
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Show the settings in force, and start nothing
    #[arg(long)]
    print_config: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Outcome {
    let loaded = load(&arguments)?;
    if arguments.print_config {
        let settings = serde_json::to_value(&loaded.config)
            .map_err(|error| Error::internal("the settings cannot be written").with_source(error))?;
        context.console.text_or(&loaded.print()?, || json!({ "settings": settings }))?;
        return Ok(Exit::Ok);
    }
    let config = loaded.config;
    telemetry::install(&config.telemetry, &telemetry::without_export())?;
    let app = larder_standalone::build(&config, Deps::of_process()?).await.map_err(of_itself)?;
    context.console.report(&Started { addresses: app.addresses(), data: config.data })?;
    app.run().await.map_err(of_itself)?;
    Ok(Exit::Ok)
}

/// The services are this process: what one of its parts lacks is no service that cannot be reached.
fn of_itself(error: Error) -> Failure {
    let is_unreachable = Exit::from(error.code()) == Exit::Unavailable;
    if is_unreachable { Error::failed_precondition(error.message()).into() } else { error.into() }
}

fn load(arguments: &Arguments) -> Outcome<Loaded<Config>> {
    let mut layers = Layers::new();
    if let Some(file) = &arguments.config {
        layers = layers.file(file);
    }
    // Those are of the commands that call services, and in this environment where both are run in one shell.
    let is_ours = |(name, _): &(String, String)| !name.starts_with(environment::PREFIX);
    layers = layers.environment(std::env::vars_os().filter_map(text_of).filter(is_ours));
    for (key, value) in &arguments.set {
        layers = layers.flag("--set", key, value);
    }
    if let Some(data) = &arguments.data {
        layers = layers.flag("--data", "data", data.display().to_string());
    }
    // The message lists every problem by itself.
    layers.load().map_err(|error| Failure::Error(Error::new(error.code(), error.message())))
}

/// Variables that are no text are not ours.
fn text_of((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Where the services listen.
struct Started {
    addresses: Addresses,
    data: PathBuf,
}

impl Report for Started {
    fn json(&self) -> Value {
        let Addresses { registry, serving, push_ingest, materializer, admin } = self.addresses;
        json!({
            "registry": registry.to_string(),
            "serving": serving.to_string(),
            "push_ingest": push_ingest.to_string(),
            "materializer": materializer.to_string(),
            "admin": admin.to_string(),
            "data": self.data,
        })
    }

    fn text(&self, _paint: Paint) -> String {
        let Addresses { registry, serving, push_ingest, materializer, admin } = self.addresses;
        format!(
            "Larder listens, with its data in {}:\n  registry      {registry}\n  serving       {serving}\n  \
             push-ingest   {push_ingest}\n  materializer  {materializer}\n  admin         http://{admin}/readyz, /livez, /metrics",
            self.data.display()
        )
    }
}
