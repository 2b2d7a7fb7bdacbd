//! `strandline format`: makes directories a node's data directories, as Kafka's `kafka-storage format` does.
//!
//! Only needed where the cluster is to begin with other levels of features than the usual ones, or where all nodes are given their
//! directory before the first of them starts: an empty directory is formatted by `serve` itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use strandline_node::metadata_log::bootstrap::{LevelError, encode, levels};

use crate::exit::Exit;
use crate::start::StartError;
use crate::start::directory::{Already, Formatted, format_with};
use crate::start::settings::{ServeArgs, Settings};

/// Formats a data directory for a new cluster, or for a new node of one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FormatArgs {
    /// The cluster's id, the same for all of its nodes. Default: cluster.id of the file, or a new one.
    #[arg(short = 't', long, value_name = "ID")]
    cluster_id: Option<String>,
    /// Configuration file of the node.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory. Given several times, one for each disk. Default: log.dirs of the file, or ./strandline-data.
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// Any key of the configuration file; goes before the file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The level that a feature begins with in a new cluster; 0 is off.
    #[arg(short, long = "feature", value_name = "NAME=LEVEL")]
    features: Vec<String>,
    /// A directory that is formatted already is left alone, and that is no failure.
    #[arg(short = 'g', long)]
    ignore_formatted: bool,
}

#[derive(Debug, thiserror::Error)]
enum FormatError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("--feature takes NAME=LEVEL, not {given:?}")]
    Feature { given: String },
    #[error(transparent)]
    Level(#[from] LevelError),
    #[error("{given:?} is no cluster id: {reason}")]
    ClusterId { given: String, reason: &'static str },
    #[error("the data directory {} is formatted already; --ignore-formatted leaves it as it is", directory.display())]
    Formatted { directory: PathBuf },
}

/// Formats a directory and says so.
pub(crate) fn format(args: &FormatArgs) -> Exit {
    match run(args) {
        Ok(said) => {
            println!("{said}");
            Exit::Done
        }
        Err(error) => {
            eprintln!("strandline: {error}");
            Exit::Failed
        }
    }
}

fn run(args: &FormatArgs) -> Result<String, FormatError> {
    let mut set = args.set.clone();
    if let Some(cluster) = &args.cluster_id {
        check_cluster_id(cluster)?;
        set.push(format!("cluster.id={cluster}"));
    }
    let settings =
        Settings::read(&ServeArgs { config: args.config.clone(), data: args.data.clone(), set, ..ServeArgs::default() })?;
    let levels = levels(&args.features.iter().map(|given| feature(given)).collect::<Result<Vec<_>, _>>()?)?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0));
    let already = if args.ignore_formatted { Already::LeaveAlone } else { Already::Refuse };
    let formatted = format_with(&settings.data, &settings.config, &encode(&levels, now_ms), already)?;
    match formatted.already.first() {
        Some(directory) if !args.ignore_formatted => Err(FormatError::Formatted { directory: directory.clone() }),
        _ => Ok(said(&formatted, &levels)),
    }
}

fn said(formatted: &Formatted, levels: &BTreeMap<String, i16>) -> String {
    let levels: Vec<String> = levels.iter().map(|(name, level)| format!("{name}={level}")).collect();
    let (node, cluster) = (formatted.node_id, &formatted.cluster_id);
    let already = formatted.already.iter().map(|directory| format!("{} is formatted already", directory.display()));
    let made = formatted.directories.iter().map(|directory| {
        format!("Formatted {} for node {node} of cluster {cluster} with {}", directory.display(), levels.join(", "))
    });
    already.chain(made).collect::<Vec<_>>().join("\n")
}

fn feature(given: &str) -> Result<(String, i16), FormatError> {
    let parsed = given.split_once('=').and_then(|(name, level)| Some((name.trim().to_owned(), level.trim().parse().ok()?)));
    parsed.ok_or_else(|| FormatError::Feature { given: given.to_owned() })
}

/// Kafka takes any text here; what would break `meta.properties`, or is no id at all, is refused.
fn check_cluster_id(given: &str) -> Result<(), FormatError> {
    let refused = |reason| Err(FormatError::ClusterId { given: given.to_owned(), reason });
    if given.is_empty() || given.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return refused("it must be one word without backslashes");
    }
    if given.starts_with('-') {
        return refused("it would look like an option");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::start::directory::random;

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let name = u64::from_ne_bytes(random().expect("random bytes"));
            let path = std::env::temp_dir().join(format!("strandline-format-{name:x}"));
            std::fs::create_dir(&path).expect("made");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // What is left behind hurts nobody.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn arguments(data: &Path) -> FormatArgs {
        FormatArgs {
            cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qk".to_owned()),
            config: None,
            data: vec![data.to_owned()],
            set: vec!["node.id=3".to_owned()],
            features: vec!["metadata.version=25".to_owned()],
            ignore_formatted: false,
        }
    }

    #[test]
    fn a_directory_is_formatted_once() {
        let directory = Scratch::new();
        let data = directory.0.join("new");
        let said = run(&arguments(&data)).expect("it is empty");
        assert!(said.contains("node 3") && said.contains("metadata.version=25"), "{said}");
        assert!(matches!(run(&arguments(&data)), Err(FormatError::Formatted { .. })));
        assert!(run(&FormatArgs { ignore_formatted: true, ..arguments(&data) }).is_ok());
    }

    #[test]
    fn every_directory_gets_an_id_of_its_own_and_the_first_what_the_cluster_begins_with() {
        let directory = Scratch::new();
        let roots = ["left", "right"].map(|name| directory.0.join(name));
        let both = FormatArgs { data: roots.to_vec(), ..arguments(&roots[0]) };
        run(&arguments(&roots[1])).expect("it is empty");
        assert!(matches!(run(&both), Err(FormatError::Formatted { .. })), "one of them is formatted");
        assert!(!roots[0].join("meta.properties").exists());
        let said = run(&FormatArgs { ignore_formatted: true, ..both }).expect("the other is empty");
        assert!(said.contains("right is formatted already") && said.contains("left for node 3"), "{said}");
        let ids = roots.clone().map(|root| std::fs::read_to_string(root.join("meta.properties")).expect("written"));
        assert_ne!(ids[0], ids[1]);
        assert!(roots[0].join("bootstrap.checkpoint").exists());
        let twice = FormatArgs { data: vec![roots[0].clone(), roots[0].join(".")], ..arguments(&roots[0]) };
        assert!(matches!(run(&twice), Err(FormatError::Start(StartError::Same { .. }))));
    }

    #[test]
    fn what_is_no_format_is_refused_and_nothing_is_written() {
        let directory = Scratch::new();
        let data = directory.0.join("new");
        for features in ["metadata.version", "metadata.version=x", "nonsense=1", "metadata.version=2"] {
            let arguments = FormatArgs { features: vec![features.to_owned()], ..arguments(&data) };
            assert!(matches!(run(&arguments), Err(FormatError::Feature { .. } | FormatError::Level(_))), "{features}");
        }
        for cluster in ["", "two words", "-x"] {
            let arguments = FormatArgs { cluster_id: Some(cluster.to_owned()), ..arguments(&data) };
            assert!(matches!(run(&arguments), Err(FormatError::ClusterId { .. })), "{cluster}");
        }
        assert!(!data.exists());
        std::fs::create_dir(&data).expect("made");
        std::fs::write(data.join("holiday.jpg"), b"x").expect("written");
        assert!(matches!(run(&arguments(&data)), Err(FormatError::Start(StartError::NotOurs { .. }))));
    }
}
