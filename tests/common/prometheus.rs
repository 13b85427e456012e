//! The programs `promtool` and `prometheus` of Debian's package `prometheus`.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::admin::get_in_one_piece;
use super::{Lines, Process, wait_until};

/// A running Prometheus that reads the metrics of one server each second. It ends when this is dropped.
pub(crate) struct Prometheus {
    address: SocketAddr,
    folder: PathBuf,
    /// Read for as long as it runs.
    _log: Lines,
    process: Process,
}

impl Prometheus {
    /// Starts it, with its files in the folder `name`. Returns `None` where it is not installed.
    #[track_caller]
    pub(crate) fn start(name: &str, server: SocketAddr, rules: &Path) -> Option<Self> {
        let mut command = prometheus_command("prometheus")?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // The test before may have been killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a new folder");
        let rules = fs::canonicalize(rules).expect("the rules");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n\
             - job_name: bullhorn\n  \
               static_configs: [{{targets: ['{server}']}}]\n",
            rules.display()
        );
        fs::write(folder.join("prometheus.yml"), config).expect("it can be written");
        command.current_dir(&folder).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
        ]);
        let mut process = Process::spawn(command.stderr(Stdio::piped()));
        let log = Lines::new(process.child.stderr.take().expect("it is piped"));
        let line = log.find("\"Listening on\"");
        let address = line.split_once("address=").expect("its address").1;
        let address = address.parse().expect("an address");
        wait_until("Prometheus", || {
            get_in_one_piece(address, "/-/ready").status == 200
        });
        Some(Self {
            address,
            folder,
            _log: log,
            process,
        })
    }

    /// Returns the data of an answer of its API.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str) -> Value {
        let response = get_in_one_piece(self.address, path);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        let mut answer: Value = serde_json::from_str(&response.body).expect("it is JSON");
        answer["data"].take()
    }

    /// Returns the values of an expression at this moment.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<f64> {
        let escaped = expression.bytes().map(|byte| format!("%{byte:02x}"));
        let escaped: String = escaped.collect();
        let data = self.ask(&format!("/api/v1/query?query={escaped}"));
        let results = data["result"].as_array().expect("it is a vector");
        let values = results.iter().map(|result| result["value"][1].as_str());
        let values = values.map(|value| value.and_then(|value| value.parse().ok()));
        values.collect::<Option<_>>().expect("numbers")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns a command that runs `program`, or `None` where it is not installed.
pub(crate) fn prometheus_command(program: &str) -> Option<Command> {
    let version = Command::new(program).arg("--version").output();
    match version {
        Ok(output) if output.status.success() => Some(Command::new(program)),
        _ => {
            println!("skipped: {program} is missing; scripts/test unpacks it");
            None
        }
    }
}

/// Runs promtool with `input` on its standard input. It must succeed and complain about nothing.
/// Returns what it prints, or `None` where it is not installed.
#[track_caller]
pub(crate) fn promtool(folder: &Path, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = prometheus_command("promtool")?;
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it is there");
    let mut pipe = child.stdin.take().expect("it is piped");
    // It may end before it has read all, and its message says why.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("it is a child");
    let [printed, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{printed}{errors}");
    assert_eq!(errors, "", "{printed}");
    Some(printed)
}
