//! The few facts this crate reads out of ELF files.

use elf::ElfBytes;
use elf::endian::LittleEndian;

/// The modules that a kernel module names in its `.modinfo` section as `depends=a,b`.
/// `None` when the bytes are not a module.
pub fn depends(module: &[u8]) -> Option<Vec<String>> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(module).ok()?;
    let header = file.section_header_by_name(".modinfo").ok()??;
    let (info, _) = file.section_data(&header).ok()?;
    let line = info.split(|&byte| byte == 0).find_map(|line| line.strip_prefix(b"depends="));
    let names = std::str::from_utf8(line?).ok()?;
    Some(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// What a program or library asks the dynamic loader for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Path of the loader itself; a static program has none.
    pub loader: Option<String>,
    /// Names of shared libraries.
    pub libraries: Vec<String>,
}

/// Reads `PT_INTERP` and `DT_NEEDED`. `None` when the bytes are not an ELF file.
pub fn needs(program: &[u8]) -> Option<Needs> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(program).ok()?;
    let mut needs = Needs::default();
    for segment in file.segments()?.iter().filter(|segment| segment.p_type == elf::abi::PT_INTERP) {
        let bytes = file.segment_data(&segment).ok()?.strip_suffix(b"\0")?;
        needs.loader = Some(std::str::from_utf8(bytes).ok()?.to_owned());
    }
    let Some(dynamic) = file.dynamic().ok()? else { return Some(needs) };
    let wanted: Vec<u64> = dynamic
        .iter()
        .filter(|entry| entry.d_tag == elf::abi::DT_NEEDED)
        .map(|entry| entry.d_val())
        .collect();
    if !wanted.is_empty() {
        let (_, strings) = file.dynamic_symbol_table().ok()??;
        for offset in wanted {
            needs.libraries.push(strings.get(offset as usize).ok()?.to_owned());
        }
    }
    Some(needs)
}

/// The program without what no loader reads: everything past its last segment (section table, symbols,
/// debugging information), which would cost every pal memory awake and asleep.
pub fn without_sections(program: &[u8]) -> Option<Vec<u8>> {
    // Offsets in the header of a 64-bit ELF file: section table's place, its entries' size and number,
    // and the index of its names.
    const PLACE: std::ops::Range<usize> = 40..48;
    const COUNTS: std::ops::Range<usize> = 58..64;
    let file = ElfBytes::<LittleEndian>::minimal_parse(program).ok()?;
    if file.ehdr.class != elf::file::Class::ELF64 {
        return None;
    }
    let ends = file.segments()?.iter().map(|segment| segment.p_offset.checked_add(segment.p_filesz));
    let end = ends.collect::<Option<Vec<u64>>>()?.into_iter().max()?;
    let mut kept = program.get(..usize::try_from(end).ok()?)?.to_vec();
    kept.get_mut(PLACE)?.fill(0);
    kept.get_mut(COUNTS)?.fill(0);
    Some(kept)
}

/// The module without its signature: the image's digest vouches for it, and checking RSA on an
/// emulated processor would cost every cold boot some milliseconds a module.
pub fn without_signature(module: &[u8]) -> &[u8] {
    const MARK: &[u8] = b"~Module signature appended~\n";
    const INFO: usize = 12;
    let strip = || {
        let rest = module.strip_suffix(MARK)?;
        let info = rest.last_chunk::<INFO>()?;
        let length = u32::from_be_bytes([info[8], info[9], info[10], info[11]]) as usize;
        rest.get(..rest.len().checked_sub(INFO)?.checked_sub(length)?)
    };
    strip().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_needs_the_c_library() {
        let needs = needs(&std::fs::read("/bin/sh").unwrap()).unwrap();
        assert!(needs.loader.is_some_and(|path| path.contains("ld-linux")));
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"), "{:?}", needs.libraries);
    }

    #[test]
    fn other_bytes_are_neither_module_nor_program() {
        let program = std::fs::read("/bin/sh").unwrap();
        assert_eq!(depends(&program), None);
        for bytes in [&b""[..], b"\x7fELF", &program[..64], &[0xff; 200]] {
            assert_eq!(depends(bytes), None);
            assert_eq!(needs(bytes), None);
        }
    }

    #[test]
    fn a_program_runs_without_its_sections() {
        use std::os::unix::fs::PermissionsExt;
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let kept = without_sections(&whole).unwrap();
        assert!(kept.len() < whole.len(), "{} of {}", kept.len(), whole.len());
        assert_eq!(without_sections(&kept).as_ref(), Some(&kept));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, kept).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(&path).arg("--list").output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("a_program_runs_without_its_sections"));
        assert_eq!(without_sections(b"\x7fELF"), None);
    }

    #[test]
    fn a_signature_is_cut_off_and_a_false_one_is_left() {
        let signed = [
            b"module",
            &b"SIGNED"[..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6],
            b"~Module signature appended~\n",
        ]
        .concat();
        assert_eq!(without_signature(&signed), b"module");
        let lying =
            [&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 6], &b"~Module signature appended~\n"[..]].concat();
        assert_eq!(without_signature(&lying), lying);
        assert_eq!(without_signature(b"plain"), b"plain");
    }
}
