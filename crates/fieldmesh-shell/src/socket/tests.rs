//! Goal: a socket is short, private, and never taken from a living daemon.
//! Method: real sockets in temporary folders.

use super::*;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fms-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_path_is_short_however_long_the_home_is() {
    let home = PathBuf::from(format!("/{}", "very-long-folder/".repeat(200)));
    for runtime in ["/run/user/1000", &format!("/{}", "r".repeat(120))] {
        let environment = Environment {
            runtime_folder: Some(runtime.into()),
            temporary_folder: format!("/{}", "t".repeat(120)).into(),
            user: u32::MAX,
        };
        let places = places("crew", &home, &environment);
        assert!(!places.is_empty());
        assert!(places.iter().all(|path| path.as_os_str().len() < 100), "{places:?}");
    }
}

#[test]
fn two_homes_have_two_sockets() {
    let environment =
        Environment { runtime_folder: None, temporary_folder: "/tmp".into(), user: 7 };
    let of = |home: &str| places("crew", Path::new(home), &environment)[0].clone();
    assert_eq!(of("/a"), of("/a"));
    assert_ne!(of("/a"), of("/b"));
}

#[tokio::test]
async fn a_daemon_is_found_until_it_ends_and_leaves_no_file() {
    let home = folder("found");
    assert_eq!(find("crew", &home).await, None);
    let socket = Socket::bind("crew", &home).unwrap();
    let path = socket.path().to_owned();
    assert_eq!(find("crew", &home).await.as_deref(), Some(&*path));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(socket);
    assert!(!path.exists());
    assert_eq!(find("crew", &home).await, None);
    fs::remove_dir_all(home).unwrap();
}

#[tokio::test]
async fn a_file_left_by_a_killed_daemon_is_replaced() {
    let home = folder("stale");
    let mut killed = Socket::bind("crew", &home).unwrap();
    drop(killed.take_listener());
    assert!(killed.path().exists());
    assert_eq!(find("crew", &home).await, None);
    let next = Socket::bind("crew", &home).unwrap();
    assert!(find("crew", &home).await.is_some());
    // The old one must not take the new one's file away.
    drop(killed);
    assert!(find("crew", &home).await.is_some());
    drop(next);
    fs::remove_dir_all(home).unwrap();
}

#[test]
fn a_folder_that_others_can_enter_is_refused() {
    let open = folder("open");
    fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    let user = fs::metadata(&open).unwrap().uid();
    assert!(private_folder(&open, user).is_err());
    fs::set_permissions(&open, Permissions::from_mode(0o700)).unwrap();
    assert!(private_folder(&open, user).is_ok());
    assert!(private_folder(&open, user + 1).is_err());
    fs::remove_dir_all(open).unwrap();
}
