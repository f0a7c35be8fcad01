//! Who runs the program, where no variable says so: in a container, from a service manager.
//!
//! In: what the system tells about the process. Out: a name for the author of commits. Called by
//! `environment`.

/// The account that the process runs as: its name, or `uid 1000`, at the machine's name; `None`
/// where the system tells neither.
pub(crate) fn account() -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let host = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    named(uid(), &passwd, host.as_deref())
}

/// Linux gives the folder of the process to the user that it runs as.
#[cfg(unix)]
fn uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self")
        .ok()
        .map(|about| about.uid())
}

#[cfg(not(unix))]
fn uid() -> Option<u32> {
    None
}

fn named(uid: Option<u32>, passwd: &str, host: Option<&str>) -> Option<String> {
    let of_uid = |uid: u32| {
        let names = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        names.unwrap_or_else(|| format!("uid {uid}"))
    };
    let host = host.map(str::trim).filter(|host| !host.is_empty());
    match (uid.map(of_uid), host) {
        (Some(user), Some(host)) => Some(format!("{user}@{host}")),
        (Some(user), None) => Some(user),
        (None, Some(host)) => Some(format!("unknown@{host}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_makes_the_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n\nodd\n";
        for (uid, host, name) in [
            (Some(1000), Some("box\n"), Some("ada@box")),
            (Some(7), Some("box"), Some("uid 7@box")),
            (Some(0), None, Some("root")),
            (None, Some("box"), Some("unknown@box")),
            (None, Some(" \n"), None),
        ] {
            assert_eq!(named(uid, passwd, host).as_deref(), name);
        }
    }
}
