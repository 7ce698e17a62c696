//! Changes that nobody announces: each way in which files change is noticed.

use std::os::unix::fs::symlink;

use crate::support::{Site, secret, signed_by};

#[test]
fn a_write_in_place_a_rename_and_a_kubernetes_swap_are_noticed() {
    let site = Site::new();
    // As Kubernetes mounts a secret: every file is a link into the folder that `..data` links to.
    let mount = site.path("mount");
    let fill = |version: &str, secret: &str| {
        let folder = mount.join(version);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("signet.toml"), site.simple()).unwrap();
        std::fs::write(folder.join("secret-0"), secret).unwrap();
    };
    fill("..1", &secret(0));
    symlink("..1", mount.join("..data")).unwrap();
    for name in ["signet.toml", "secret-0"] {
        symlink(format!("..data/{name}"), mount.join(name)).unwrap();
    }
    let signet = site.start_in(&mount);
    assert!(signed_by(&signet.token("usr_1"), &secret(0)));

    let mark = signet.mark();
    fill("..2", &secret(1));
    symlink("..2", mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    signet.wait_for(mark, "reloaded the configuration");
    assert!(signed_by(&signet.token("usr_2"), &secret(1)));

    let mark = signet.mark();
    std::fs::write(mount.join("secret-0"), secret(2)).unwrap();
    signet.wait_for(mark, "reloaded the configuration");
    assert!(signed_by(&signet.token("usr_3"), &secret(2)));

    let mark = signet.mark();
    site.write("mount/secret-0", &secret(3));
    signet.wait_for(mark, "reloaded the configuration");
    assert!(signed_by(&signet.token("usr_4"), &secret(3)));
}
