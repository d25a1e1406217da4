//! One control group a machine, on version 1 (a folder in each hierarchy) or 2 (one folder).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuacct", "pids"];

/// A control group that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not {what} the control group {path}: the agent needs root rights and a writable /sys/fs/cgroup"
)]
pub struct CgroupError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What a machine may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory in bytes, guest and hypervisor together.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub tasks: u32,
}

/// What a machine has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Processor time of the hypervisor, all threads, in microseconds.
    pub cpu_us: u64,
    /// Memory charged now, in bytes.
    pub memory_bytes: u64,
}

/// The folders of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    kind: Kind,
    folders: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    Two,
}

impl Cgroup {
    /// The group `parent/name`, which need not exist yet.
    pub fn locate(parent: &str, name: &str) -> Result<Self, CgroupError> {
        let mounts = fs::read_to_string("/proc/self/mounts")
            .map_err(at("read the mounts for", "/proc/self/mounts"))?;
        Ok(Self::by_mounts(&mounts, parent, name))
    }

    fn by_mounts(mounts: &str, parent: &str, name: &str) -> Self {
        let mut folders: Vec<PathBuf> = Vec::new();
        let mut two = PathBuf::from("/sys/fs/cgroup");
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(folder), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            match kind {
                "cgroup" if options.split(',').any(|option| CONTROLLERS.contains(&option)) => {
                    // cpu and cpuacct often share one hierarchy under two names.
                    let folder =
                        fs::canonicalize(folder).unwrap_or_else(|_| folder.into()).join(parent).join(name);
                    if !folders.contains(&folder) {
                        folders.push(folder);
                    }
                }
                "cgroup2" => two = folder.into(),
                _ => {}
            }
        }
        match folders.is_empty() {
            true => Cgroup { kind: Kind::Two, folders: vec![two.join(parent).join(name)] },
            false => Cgroup { kind: Kind::One, folders },
        }
    }

    /// Makes the group and sets its limits; what was left by a crash is taken over.
    pub fn create(&self, limits: Limits) -> Result<(), CgroupError> {
        for folder in &self.folders {
            if self.kind == Kind::Two {
                self.enable_controllers(folder)?;
            }
            fs::create_dir_all(folder).map_err(at("make", folder))?;
        }
        let memory = match self.kind {
            Kind::One => "memory.limit_in_bytes",
            Kind::Two => "memory.max",
        };
        self.set(memory, &limits.memory_bytes.to_string())?;
        self.set("pids.max", &limits.tasks.to_string())
    }

    /// Controllers reach a group only through its parents.
    fn enable_controllers(&self, folder: &Path) -> Result<(), CgroupError> {
        let Some(parent) = folder.parent() else { return Ok(()) };
        fs::create_dir_all(parent).map_err(at("make", parent))?;
        for folder in [parent.parent(), Some(parent)].into_iter().flatten() {
            let file = folder.join("cgroup.subtree_control");
            fs::write(&file, "+memory +cpu +pids").map_err(at("set controllers of", &file))?;
        }
        Ok(())
    }

    /// Open `cgroup.procs` of every folder: writing 0 moves the writer in.
    pub fn entrances(&self) -> Result<Vec<File>, CgroupError> {
        let open = |folder: &PathBuf| {
            let path = folder.join("cgroup.procs");
            OpenOptions::new().write(true).open(&path).map_err(at("enter", &path))
        };
        self.folders.iter().map(open).collect()
    }

    /// What it has used; zeros where the kernel does not tell.
    pub fn stats(&self) -> Stats {
        let number = |name: &str| self.get(name)?.trim().parse::<u64>().ok();
        match self.kind {
            Kind::One => Stats {
                cpu_us: number("cpuacct.usage").unwrap_or(0) / 1000,
                memory_bytes: number("memory.usage_in_bytes").unwrap_or(0),
            },
            Kind::Two => {
                let cpu = self.get("cpu.stat").unwrap_or_default();
                let used = cpu.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok());
                Stats { cpu_us: used.unwrap_or(0), memory_bytes: number("memory.current").unwrap_or(0) }
            }
        }
    }

    /// Removes the group; its processes must be gone. A group that is not there is fine.
    pub fn remove(&self) -> Result<(), CgroupError> {
        for folder in &self.folders {
            let mut tries = 0;
            loop {
                match fs::remove_dir(folder) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    // The kernel lets go of a reaped process a moment later.
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < 500 => {
                        tries += 1;
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(source) => return Err(at("remove", folder)(source)),
                }
            }
        }
        Ok(())
    }

    /// Processes in it, or in a part of it.
    pub fn processes(&self) -> Vec<u32> {
        let lists =
            self.folders.iter().filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok());
        let mut processes: Vec<u32> = lists
            .flat_map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }

    /// Removes the folder that holds the machines' groups, once they are all gone.
    pub fn remove_parent(parent: &str) -> Result<(), CgroupError> {
        let mut all = Self::locate(parent, "none")?;
        all.folders.iter_mut().for_each(|folder| {
            folder.pop();
        });
        all.remove()
    }

    fn set(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        let path = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
        match path {
            Some(path) => fs::write(&path, value).map_err(at("limit", &path)),
            None => {
                let source = io::Error::new(io::ErrorKind::NotFound, format!("this kernel offers no {name}"));
                Err(at("limit", self.folders.first().map_or(Path::new(""), PathBuf::as_path))(source))
            }
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.folders.iter().find_map(|folder| fs::read_to_string(folder.join(name)).ok())
    }
}

fn at(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.as_ref().to_owned();
    move |source| CgroupError { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_has_a_folder_in_each_hierarchy_and_version_two_one_in_all() {
        let one = "cgroup /c/memory cgroup rw,memory 0 0\ncgroup /c/cpu cgroup rw,cpu 0 0\n\
                   cgroup /c/freezer cgroup rw,freezer 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n";
        let group = Cgroup::by_mounts(one, "cloudpal", "m1");
        assert_eq!(group.kind, Kind::One);
        assert_eq!(group.folders, [Path::new("/c/memory/cloudpal/m1"), Path::new("/c/cpu/cloudpal/m1")]);
        let two = Cgroup::by_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cloudpal", "m1");
        assert_eq!(two.kind, Kind::Two);
        assert_eq!(two.folders, [Path::new("/sys/fs/cgroup/cloudpal/m1")]);
    }
}
