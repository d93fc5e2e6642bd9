//! Goal: a socket is short, private, and never taken from a living relay.
//! Method: real sockets in temporary folders.

use super::*;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("srs-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_path_is_short_however_long_the_other_path_is() {
    let data = PathBuf::from(format!("/{}", "very-long-folder/".repeat(200)));
    for runtime in ["/run/user/1000", &format!("/{}", "r".repeat(120))] {
        let environment = Environment {
            runtime_folder: Some(runtime.into()),
            temporary_folder: format!("/{}", "t".repeat(120)).into(),
            user: u32::MAX,
        };
        let places = places(&data, &environment);
        assert!(!places.is_empty());
        assert!(places.iter().all(|path| path.as_os_str().len() < 100), "{places:?}");
    }
}

#[test]
fn two_data_folders_have_two_sockets() {
    let environment =
        Environment { runtime_folder: None, temporary_folder: "/tmp".into(), user: 7 };
    let of = |data: &str| places(Path::new(data), &environment)[0].clone();
    assert_eq!(of("/a"), of("/a"));
    assert_ne!(of("/a"), of("/b"));
}

#[tokio::test]
async fn a_relay_is_found_until_it_ends_and_leaves_no_file() {
    let data = folder("found");
    assert_eq!(find(&data).await, None);
    let socket = Socket::bind(&data).unwrap();
    let path = socket.path().to_owned();
    assert_eq!(find(&data).await.as_deref(), Some(&*path));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(socket);
    assert!(!path.exists());
    assert_eq!(find(&data).await, None);
    fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn a_file_left_by_a_killed_relay_is_replaced() {
    let data = folder("stale");
    let mut killed = Socket::bind(&data).unwrap();
    drop(killed.take_listener());
    assert!(killed.path().exists());
    assert_eq!(find(&data).await, None);
    let next = Socket::bind(&data).unwrap();
    assert!(find(&data).await.is_some());
    // The old one must not take the new one's file away.
    drop(killed);
    assert!(find(&data).await.is_some());
    drop(next);
    fs::remove_dir_all(data).unwrap();
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
