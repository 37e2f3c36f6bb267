//! The machine that a run was made on, as `/proc` describes it.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::measure::{file_system_type, proc_number};
use crate::store::Result;

/// What a figure depends on beside the program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The model of the processor; some architectures have no name for it.
    pub processor: Option<String>,
    /// How many threads it runs at once for this process.
    pub cores: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The kernel and its version.
    pub kernel: String,
    /// The type of the file system that the stores are on.
    pub file_system: String,
}

impl Machine {
    /// This machine, with the stores in this folder.
    ///
    /// # Errors
    /// If `/proc` does not say.
    pub fn this(dir: &Path) -> Result<Machine> {
        let version = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        Ok(Machine {
            processor: processor(&fs::read_to_string("/proc/cpuinfo")?),
            cores: std::thread::available_parallelism()?.get() as u64,
            memory_bytes: proc_number("/proc/meminfo", "MemTotal:")? * 1024,
            kernel: format!("{} {}", version("ostype")?.trim(), version("osrelease")?.trim()),
            file_system: file_system_type(dir)?,
        })
    }
}

/// The model of the first processor.
fn processor(cpuinfo: &str) -> Option<String> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, model) = fields.find(|(name, _)| name.trim() == "model name")?;
    Some(model.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::this(Path::new("/proc")).unwrap();
        assert!(1 <= machine.cores && 1 << 20 < machine.memory_bytes, "{machine:?}");
        assert!(machine.kernel.starts_with("Linux "), "{}", machine.kernel);
        assert_eq!(machine.file_system, "proc");
    }

    #[test]
    fn a_processor_has_a_name_or_none() {
        let two = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\n\nmodel name\t: Another\n";
        assert_eq!(processor(two).as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(processor("processor\t: 0\nBogoMIPS\t: 50\n"), None);
    }
}
