//! `strandline format`: makes directories a node's data directories, as Kafka's `kafka-storage format` does.
//!
//! Only needed where the cluster is to begin with other levels of features than the usual ones, or where all nodes are given their
//! directory before the first of them starts: an empty directory is formatted by `serve` itself.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use strandline_node::metadata_log::bootstrap::{
    FirstVoter, LevelError, VotersIn, Wanted, encode, first_snapshot as first_snapshot_of, levels,
};
use strandline_protocol::ids::Uuid;

use crate::exit::Exit;
use crate::start::StartError;
use crate::start::directory::{Already, Beginning, Formatted, format_with, random_uuid};
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
    /// Kafka's release whose levels the features begin with, as 4.1 or 4.1-IV0. Default: the newest.
    #[arg(short, long, value_name = "RELEASE")]
    release_version: Option<String>,
    /// This controller is the first voter of a new quorum; others can be added later.
    #[arg(short, long, conflicts_with_all = ["initial_controllers", "no_initial_controllers"])]
    standalone: bool,
    /// These controllers are the first voters, as ID@HOST:PORT:DIRECTORY-ID, several separated by commas; the same for all of them.
    #[arg(short = 'I', long, value_name = "VOTERS", conflicts_with = "no_initial_controllers")]
    initial_controllers: Option<String>,
    /// This node finds the quorum by controller.quorum.bootstrap.servers, and is none of its first voters.
    #[arg(short = 'N', long)]
    no_initial_controllers: bool,
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
    #[error("{given:?} is no voter like 1@HOST:PORT:DIRECTORY-ID")]
    Voter { given: String },
    #[error("--initial-controllers names {what} {id} twice")]
    VoterTwice { what: &'static str, id: String },
    #[error(
        "--initial-controllers does not name this controller, node {node}; format it with --no-initial-controllers and add it later"
    )]
    NotNamed { node: i32 },
    #[error(
        "the voters stand in controller.quorum.voters, so {option} cannot name others; set controller.quorum.bootstrap.servers instead"
    )]
    Static { option: &'static str },
    #[error("{option} is for controllers; this node is a broker alone")]
    NoController { option: &'static str },
    #[error("a controller that is to vote needs a listener that controller.listener.names names")]
    NoListener,
    #[error(
        "the voters of this controller stand nowhere: format it with --standalone, --initial-controllers or --no-initial-controllers"
    )]
    Undecided,
    #[error("cannot make an id for the directory: {0}")]
    Random(io::Error),
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
    let first = FirstVoters::read(args, &settings)?;
    let features = args.features.iter().map(|given| feature(given)).collect::<Result<Vec<_>, _>>()?;
    let voters = if first == FirstVoters::Unnamed { VotersIn::Configuration } else { VotersIn::Log };
    let levels = levels(&Wanted { release: args.release_version.as_deref(), levels: &features, voters })?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0));
    let (directory_id, voters) = first.on(&settings)?;
    let listener = &settings.topology.controller;
    let first_snapshot = Some(voters).filter(|voters| !voters.is_empty());
    let beginning = Beginning {
        directory_id,
        bootstrap: encode(&levels, now_ms),
        first_snapshot: first_snapshot.map(|voters| first_snapshot_of(&voters, listener, now_ms)),
    };
    let already = if args.ignore_formatted { Already::LeaveAlone } else { Already::Refuse };
    let formatted = format_with(&settings.data, &settings.config, &beginning, already)?;
    match formatted.already.first() {
        Some(directory) if !args.ignore_formatted => Err(FormatError::Formatted { directory: directory.clone() }),
        _ => Ok(said(&formatted, &levels)),
    }
}

/// The first voters of a cluster, as the command line names them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FirstVoters {
    /// This node alone.
    Standalone,
    Named(Vec<FirstVoter>),
    /// Those of the configuration, or of a quorum that exists.
    Unnamed,
}

impl FirstVoters {
    fn read(args: &FormatArgs, settings: &Settings) -> Result<Self, FormatError> {
        let option = match (&args.initial_controllers, args.standalone, args.no_initial_controllers) {
            (Some(_), ..) => "--initial-controllers",
            (None, true, _) => "--standalone",
            (None, false, true) => "--no-initial-controllers",
            (None, false, false) if settings.topology.roles.controller && !settings.topology.bootstrap.is_empty() => {
                let is_static = !settings.topology.voters.is_empty();
                return if is_static { Ok(Self::Unnamed) } else { Err(FormatError::Undecided) };
            }
            (None, false, false) => return Ok(Self::Unnamed),
        };
        if !settings.topology.voters.is_empty() {
            return Err(FormatError::Static { option });
        }
        if args.standalone && !settings.topology.roles.controller {
            return Err(FormatError::NoController { option });
        }
        match &args.initial_controllers {
            Some(given) => named(given).map(Self::Named),
            None if args.standalone => Ok(Self::Standalone),
            None => Ok(Self::Unnamed),
        }
    }

    /// The id of this node's directory, and the voters.
    fn on(&self, settings: &Settings) -> Result<(Uuid, Vec<FirstVoter>), FormatError> {
        let node = i32::try_from(settings.config.number("node.id")).unwrap_or(i32::MAX);
        match self {
            Self::Unnamed => Ok((random_uuid().map_err(FormatError::Random)?, Vec::new())),
            Self::Standalone => {
                let end = settings.topology.controller_endpoints().next().ok_or(FormatError::NoListener)?;
                let directory = random_uuid().map_err(FormatError::Random)?;
                Ok((directory, vec![FirstVoter { id: node, directory, host: end.host.clone(), port: end.port }]))
            }
            Self::Named(voters) => match voters.iter().find(|voter| voter.id == node) {
                Some(own) if settings.topology.roles.controller => Ok((own.directory, voters.clone())),
                None if settings.topology.roles.controller => Err(FormatError::NotNamed { node }),
                _ => Ok((random_uuid().map_err(FormatError::Random)?, voters.clone())),
            },
        }
    }
}

/// `ID@HOST:PORT:DIRECTORY-ID`, several separated by commas.
fn named(given: &str) -> Result<Vec<FirstVoter>, FormatError> {
    let mut voters: Vec<FirstVoter> = Vec::new();
    for word in given.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let voter = voter(word).ok_or_else(|| FormatError::Voter { given: word.to_owned() })?;
        if voters.iter().any(|known| known.id == voter.id) {
            return Err(FormatError::VoterTwice { what: "node", id: voter.id.to_string() });
        }
        if voters.iter().any(|known| known.directory == voter.directory) {
            return Err(FormatError::VoterTwice { what: "directory", id: voter.directory.to_string() });
        }
        voters.push(voter);
    }
    if voters.is_empty() { Err(FormatError::Voter { given: given.to_owned() }) } else { Ok(voters) }
}

fn voter(word: &str) -> Option<FirstVoter> {
    let (id, rest) = word.split_once('@')?;
    let (address, directory) = rest.rsplit_once(':')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let directory = directory.parse().ok().filter(|directory| *directory != Uuid::ZERO)?;
    let id = id.parse().ok().filter(|id| *id >= 0)?;
    Some(FirstVoter { id, directory, host, port: port.parse().ok()? }).filter(|voter| !voter.host.is_empty())
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
            release_version: None,
            standalone: false,
            initial_controllers: None,
            no_initial_controllers: false,
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

    fn controller(data: &Path) -> FormatArgs {
        let set = [
            "node.id=3",
            "listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
            "controller.quorum.bootstrap.servers=h:2",
        ];
        FormatArgs { set: set.map(str::to_owned).to_vec(), ..arguments(data) }
    }

    #[test]
    fn the_first_voters_are_written_where_a_controller_finds_them() {
        let directory = Scratch::new();
        let first = Path::new("__cluster_metadata-0/00000000000000000000-0000000000.checkpoint");
        let alone = directory.0.join("alone");
        run(&FormatArgs { standalone: true, ..controller(&alone) }).expect("legal");
        assert!(alone.join(first).exists());
        let named = directory.0.join("named");
        let voters = Some("3@h:2:AwMDAwMDAwMDAwMDAwMDAw,4@[::1]:5:BAQEBAQEBAQEBAQEBAQEBA".to_owned());
        run(&FormatArgs { initial_controllers: voters, ..controller(&named) }).expect("legal");
        let properties = std::fs::read_to_string(named.join("meta.properties")).expect("written");
        assert!(properties.contains("directory.id=AwMDAwMDAwMDAwMDAwMDAw"), "{properties}");
        assert!(named.join(first).exists());
        let later = directory.0.join("later");
        run(&FormatArgs { no_initial_controllers: true, ..controller(&later) }).expect("legal");
        assert!(!later.join("__cluster_metadata-0").exists());
    }

    #[test]
    fn first_voters_that_cannot_be_are_refused() {
        let directory = Scratch::new();
        let data = directory.0.join("new");
        let named = |voters: &str| FormatArgs { initial_controllers: Some(voters.to_owned()), ..controller(&data) };
        for voters in
            ["", "3", "3@h:2", "3@h:x:AwMDAwMDAwMDAwMDAwMDAw", "3@:2:AwMDAwMDAwMDAwMDAwMDAw", "3@h:2:AAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert!(matches!(run(&named(voters)), Err(FormatError::Voter { .. })), "{voters}");
        }
        let twice = named("3@h:2:AwMDAwMDAwMDAwMDAwMDAw,3@h:2:BAQEBAQEBAQEBAQEBAQEBA");
        assert!(matches!(run(&twice), Err(FormatError::VoterTwice { .. })));
        assert!(matches!(run(&named("4@h:2:BAQEBAQEBAQEBAQEBAQEBA")), Err(FormatError::NotNamed { node: 3 })));
        assert!(matches!(run(&controller(&data)), Err(FormatError::Undecided)));
        let mut fixed = FormatArgs { standalone: true, ..controller(&data) };
        fixed.set.push("controller.quorum.voters=3@h:2".to_owned());
        assert!(matches!(run(&fixed), Err(FormatError::Static { .. })));
        let level = FormatArgs { features: vec!["kraft.version=0".to_owned()], standalone: true, ..controller(&data) };
        assert!(matches!(run(&level), Err(FormatError::Level(LevelError::KraftVersion))));
        assert!(!data.exists());
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
