//! Landlock: the rules for files, connections and signals.

use std::fmt::{self, Display};
use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::features::{Access, Feature};

/// The rules that are in force.
#[derive(Debug)]
pub(super) struct Paths {
    /// The version of Landlock's interface that the kernel has.
    abi: i32,
    /// A rule for a file in `/proc` holds for as long as the file is in the kernel's cache.
    _pins: Vec<PathFd>,
}

impl Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Landlock (ABI {})", self.abi)
    }
}

impl Paths {
    /// Confines the calling thread, and those that it starts, to the paths and the TCP ports of
    /// `features`. It may not open other TCP connections, nor reach other processes by signals or abstract
    /// sockets, as far as the kernel has that.
    ///
    /// # Errors
    /// The reason why nothing is in force.
    pub(super) fn enter(features: &[Feature]) -> Result<Self, String> {
        Self::try_enter(features).map_err(|error| error.to_string())?
    }

    fn try_enter(features: &[Feature]) -> Result<Result<Self, String>, RulesetError> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(TESTED))?
            .handle_access(AccessNet::from_all(TESTED))?
            .scope(Scope::from_all(TESTED))?
            .create()?;
        let mut pins = Vec::new();
        for (path, access) in features.iter().flat_map(Feature::paths) {
            // A path that is missing gives no rights. The part that opens it reports that.
            if let Ok(file) = PathFd::new(&path) {
                rules = rules.add_rule(PathBeneath::new(&file, rights(access, path.is_dir())))?;
                pins.push(file);
            }
        }
        for port in features.iter().filter_map(Feature::tcp_port) {
            rules = rules.add_rule(NetPort::new(port, AccessNet::BindTcp))?;
        }
        for port in features.iter().flat_map(Feature::remote_tcp_ports) {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        let status = rules.restrict_self()?;
        let abi = match status.landlock {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } => kernel_abi.unwrap_or(effective_abi as i32),
            LandlockStatus::NotEnabled => return Ok(Err("this kernel has it switched off".into())),
            LandlockStatus::NotImplemented => return Ok(Err("this kernel has none".into())),
        };
        if status.ruleset == RulesetStatus::NotEnforced {
            return Ok(Err(io::Error::from(io::ErrorKind::Unsupported).to_string()));
        }
        Ok(Ok(Self { abi, _pins: pins }))
    }
}

fn rights(access: Access, is_folder: bool) -> BitFlags<AccessFs> {
    let file = match access {
        Access::Read => BitFlags::from(AccessFs::ReadFile),
        Access::Replace => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate,
    };
    let folder = match access {
        Access::Read => BitFlags::from(AccessFs::ReadDir),
        Access::Replace => AccessFs::ReadDir | AccessFs::MakeReg | AccessFs::RemoveFile,
    };
    if is_folder { file | folder } else { file }
}

/// The newest version that the tests have run with. Rights that came later are not handled, and so
/// not refused.
const TESTED: ABI = ABI::V7;
