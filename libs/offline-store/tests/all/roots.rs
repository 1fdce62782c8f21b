//! Which files a location names, and which it may not.

use std::{fs, os::unix::ffi::OsStrExt};

use arrow::array::RecordBatch;
use expect_test::expect;
use larder_definitions::run::PartKind;
use larder_offline_store::{
    history::{ReadBefore, TimeRange},
    storage::Roots,
    training::Spine,
};
use larder_types::{ErrorCode, Timestamp};

use crate::fixture::{Shop, merchants, profiles, references};

#[tokio::test]
async fn lists_files_folders_and_globs_by_path() {
    let shop = Shop::new();
    for path in ["d/b.parquet", "d/a.parquet", "d/x=1/c.parquet", "d/_tmp/d.parquet", "d/.e.parquet", "d/f.csv"] {
        shop.write(path, &merchants(&[(1, 1, 1.0)]));
    }
    for (pattern, expected) in [
        ("d/a.parquet", vec!["d/a.parquet"]),
        ("d", vec!["d/a.parquet", "d/b.parquet", "d/x=1/c.parquet"]),
        ("d/", vec!["d/a.parquet", "d/b.parquet", "d/x=1/c.parquet"]),
        ("d/*.parquet", vec!["d/a.parquet", "d/b.parquet"]),
        ("d/*/*.parquet", vec!["d/_tmp/d.parquet", "d/x=1/c.parquet"]),
        ("d/**/[bc].parquet", vec!["d/b.parquet", "d/x=1/c.parquet"]),
        ("d/../d/a.parquet", vec!["d/a.parquet"]),
    ] {
        let files = shop.history.roots().list(&shop.path(pattern), "parquet").await.unwrap();
        let paths: Vec<String> = files.into_iter().map(|file| file.version.path).collect();
        assert_eq!(paths, expected.iter().map(|path| shop.path(path)).collect::<Vec<_>>(), "{pattern}");
        // What would be listed is told without looking.
        for path in ["d/b.parquet", "d/a.parquet", "d/x=1/c.parquet", "d/_tmp/d.parquet", "d/.e.parquet", "d/f.csv"] {
            let place = shop.history.roots().place(&shop.path(path)).unwrap();
            let lists = shop.history.roots().lists(&shop.path(pattern), "parquet", &place);
            assert_eq!(lists, expected.contains(&path), "{pattern} {path}");
        }
    }
    let error = shop.history.roots().list(&shop.path("e"), "parquet").await.unwrap_err();
    expect!["NOT_FOUND: there is no file `FOLDER/e`, nor a .parquet file below it"].assert_eq(&shop.text(&error));
}

#[tokio::test]
async fn a_closed_folder_is_passed_over_and_cannot_be_named() {
    let shop = Shop::new();
    for path in ["a.parquet", "data/b.parquet", "data/deep/c.parquet"] {
        shop.write(path, &merchants(&[(1, 1, 1.0)]));
    }
    let (root, data) = (shop.path(""), shop.path("data"));
    std::os::unix::fs::symlink(&data, shop.path("link")).unwrap();
    for closed in ["data", "link", "deeper/../data"] {
        let roots = Roots::open([root.as_str()]).unwrap().closing(shop.path(closed).as_ref()).unwrap();
        for all in [root.clone(), shop.path("**/*.parquet")] {
            let files = roots.list(&all, "parquet").await.unwrap();
            assert_eq!(files.len(), 1, "{all}");
            assert_eq!(files[0].version.path, shop.path("a.parquet"));
        }
        for path in ["data", "data/b.parquet", "data/deep/*.parquet", "link/b.parquet", "./x/../data/new.parquet"] {
            let error = roots.list(&shop.path(path), "parquet").await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::PermissionDenied, "{path}: {error}");
            assert!(error.message().contains("Larder keeps its own data"), "{error}");
        }
        // One whose name only begins alike is another.
        roots.place(&shop.path("data2/b.parquet")).unwrap();
    }
}

#[tokio::test]
async fn nothing_outside_of_the_roots_is_opened() {
    let shop = Shop::new();
    shop.write("in/a.parquet", &merchants(&[(1, 1, 1.0)]));
    shop.write("out/a.parquet", &merchants(&[(1, 1, 1.0)]));
    let inside = shop.path("in");
    let roots = Roots::open([inside.as_str()]).unwrap();
    std::os::unix::fs::symlink(shop.path("out"), shop.path("in/link")).unwrap();
    for path in ["in/../out/a.parquet", "out/*.parquet", "in/link/a.parquet", "inside/a.parquet"] {
        let error = roots.list(&shop.path(path), "parquet").await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied, "{path}: {error}");
        let text = format!("is under none of the roots that `materializer.roots` allows: {inside}");
        assert!(error.message().ends_with(&text), "{error}");
        let leads = format!("`{}` leads by a link to `{}`, which", shop.path(path), shop.path("out/a.parquet"));
        assert_eq!(error.message().starts_with(&leads), path.contains("link"), "{error}");
    }
    for (path, text) in [("s3://bucket/x.parquet", "under none of the roots"), ("x.parquet", "is a relative path")] {
        let error = roots.list(path, "parquet").await.unwrap_err();
        assert!(error.message().contains(text), "{error}");
    }
    let error = roots.list(&inside, "parquet").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PermissionDenied, "a link below the folder: {error}");
    assert!(error.message().contains("in/link/a.parquet` leads by a link to"), "{error}");
    assert!(roots.list(&format!("file://{inside}/a.parquet"), "parquet").await.is_ok());
}

/// As where a disk is not mounted: rows behind them would be missed without a word.
#[tokio::test]
async fn a_link_that_leads_nowhere_is_named() {
    let shop = Shop::new();
    shop.write("in/a.parquet", &merchants(&[(1, 1, 1.0)]));
    let roots = Roots::open([shop.path("in").as_str()]).unwrap();
    let listed = async |path: &str| roots.list(&shop.path(path), "parquet").await.map(|files| files.len());
    for link in ["in/b.parquet", "in/deep/folder", "in/.hidden"] {
        fs::create_dir_all(shop.path("in/deep")).unwrap();
        std::os::unix::fs::symlink("../nowhere", shop.path(link)).unwrap();
        for path in ["in", "in/*.parquet", "in/**/*.parquet"] {
            let is_meant = !matches!((path, link), (_, "in/.hidden") | ("in/*.parquet", "in/deep/folder"));
            match listed(path).await {
                Ok(files) => assert_eq!((files, is_meant), (1, false), "{path} {link}"),
                Err(error) => {
                    assert!(is_meant, "{path} {link}: {error}");
                    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
                    let told = format!("`{}` is a link that leads nowhere: No such file", shop.path(link));
                    assert!(error.message().contains(&told), "{error}");
                }
            }
        }
        assert_eq!(listed("in/a.parquet").await.unwrap(), 1, "a file that is named is all that is looked at");
        fs::remove_file(shop.path(link)).unwrap();
    }
}

/// The rows are those that training reads: a link to a file, one to a folder, one that a pattern meets.
#[tokio::test]
async fn files_behind_links_are_materialized() {
    let shop = Shop::new();
    shop.write("elsewhere/a.parquet", &profiles(&[("ann", 10, 1, 30)]));
    shop.write("elsewhere/deep/b.parquet", &profiles(&[("bob", 10, 1, 40)]));
    shop.write("elsewhere/c.parquet", &merchants(&[(1, 5, 0.1)]));
    let link = |to: &str, from: &str| {
        fs::create_dir_all(std::path::Path::new(&shop.path(from)).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, shop.path(from)).unwrap();
    };
    link("../elsewhere/a.parquet", "profiles/in.parquet");
    link("../elsewhere/deep", "profiles/folder");
    link("../elsewhere/c.parquet", "merchants/in.parquet");
    for (view, expected) in [("profile", 2), ("merchant_risk", 1)] {
        let (batches, _) = shop.read(view, TimeRange::ALL).await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), expected, "{view}");
    }
    // What changes behind a link is another file, and a link that is led out of the roots in between is not followed.
    let (view, project) = (shop.view("merchant_risk"), &shop.catalog.project);
    let found = shop.history.plan_parts(project, &view, &ReadBefore::default(), Timestamp::MAX).await.unwrap();
    let what = &found.parts[0].what;
    let PartKind::File(version) = what else { panic!("a Parquet source has files: {what:?}") };
    shop.write("elsewhere/c.parquet", &merchants(&[(1, 5, 0.1), (2, 6, 0.2)]));
    let error = shop.history.roots().reopen(version).await.unwrap_err();
    assert!(error.message().ends_with("merchants/in.parquet` was changed since it was listed"), "{error}");
    let outside = tempfile::tempdir().unwrap();
    fs::copy(shop.path("elsewhere/c.parquet"), outside.path().join("c.parquet")).unwrap();
    fs::remove_file(shop.path("merchants/in.parquet")).unwrap();
    link(outside.path().join("c.parquet").to_str().unwrap(), "merchants/in.parquet");
    let error = shop.history.roots().reopen(version).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PermissionDenied, "{error}");
}

#[tokio::test]
async fn a_link_to_a_folder_that_it_lies_in_is_named() {
    let shop = Shop::new();
    shop.write("profiles/a.parquet", &profiles(&[("ann", 10, 1, 30)]));
    std::os::unix::fs::symlink(".", shop.path("profiles/self")).unwrap();
    let error = shop.read("profile", TimeRange::ALL).await.unwrap_err();
    expect!["FAILED_PRECONDITION: source profiles: `FOLDER/profiles/self` is a link to a folder that it lies in, `FOLDER/profiles`: such a link cannot be followed, remove it"].assert_eq(&shop.text(&error));
    // A glob goes as far as it says, and fails where it has to go on.
    let listed = async |path: &str| {
        let files = shop.history.roots().list(&shop.path(path), "parquet").await;
        files.map(|files| files.len()).map_err(|error| error.code())
    };
    assert_eq!(listed("profiles/*.parquet").await, Ok(1));
    assert_eq!(listed("profiles/**/*.parquet").await, Err(ErrorCode::FailedPrecondition));
    fs::create_dir(shop.path("profiles/deep")).unwrap();
    fs::rename(shop.path("profiles/self"), shop.path("profiles/deep/self")).unwrap();
    assert_eq!(listed("profiles/*.parquet").await, Ok(1));
    assert_eq!(listed("profiles/*/*.parquet").await, Err(ErrorCode::NotFound));
    assert_eq!(listed("profiles").await, Err(ErrorCode::FailedPrecondition));
}

/// What lies beside it is nobody's: links that lead nowhere or round in a circle, names that no store has.
#[tokio::test]
async fn what_a_glob_does_not_match_does_not_stop_it() {
    let shop = Shop::new();
    shop.write("data/purchases.parquet", &merchants(&[(1, 1, 1.0)]));
    shop.write("data/x=1/part.parquet", &merchants(&[(1, 1, 1.0)]));
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, shop.path(from)).unwrap();
    fs::create_dir(shop.path("data/sub")).unwrap();
    link(".", "data/sub/loop");
    link("nowhere", "data/other.parquet");
    shop.write_text("data/a\nb.txt", "");
    fs::write(std::path::Path::new(&shop.path("data")).join(std::ffi::OsStr::from_bytes(b"\xff.txt")), "").unwrap();
    let listed = async |path: &str| shop.history.roots().list(&shop.path(path), "parquet").await;
    for path in ["data/purch*.parquet", "data/x=*/part.parquet", "data/[p]*.parquet"] {
        assert_eq!(listed(path).await.unwrap().len(), 1, "{path}");
    }
    let text = |error| shop.text(&error);
    let error = text(listed("data/o*.parquet").await.unwrap_err());
    expect!["FAILED_PRECONDITION: `FOLDER/data/other.parquet` is a link that leads nowhere: No such file or directory (os error 2)"].assert_eq(&error);
    let error = text(listed("data/*.txt").await.unwrap_err());
    assert!(error.contains("rename it") && !error.contains("Error parsing"), "{error}");
}

#[tokio::test]
async fn a_name_that_no_store_has_is_told_where_it_is_meant() {
    let shop = Shop::new();
    shop.write("data/a.parquet", &merchants(&[(1, 1, 1.0)]));
    shop.write_text("data/a\nb.txt", "");
    fs::create_dir(shop.path("data/line\nbreak")).unwrap();
    let listed = async |path: &str| shop.history.roots().list(&shop.path(path), "parquet").await;
    for path in ["data", "data/*.parquet", "data/**/*.parquet"] {
        assert_eq!(listed(path).await.unwrap().len(), 1, "{path}");
    }
    shop.write("data/line\nbreak/b.parquet", &merchants(&[(1, 1, 1.0)]));
    for path in ["data", "data/**/*.parquet"] {
        let error = listed(path).await.unwrap_err();
        expect![[r#"FAILED_PRECONDITION: "FOLDER/data/line\nbreak/b.parquet" cannot be read by this name, which has a control character or is no UTF-8: rename it"#]].assert_eq(&shop.text(&error));
    }
    assert_eq!(listed("data/*.parquet").await.unwrap().len(), 1);
}

/// A `%` in a plain path is one, and no wildcard of a URL's name is meant as such.
#[tokio::test]
async fn urls_are_decoded_and_paths_are_not() {
    let shop = Shop::stocked().await;
    for folder in ["ünï dir", "a%20b", "a b", "[x]*", "x"] {
        shop.write(&format!("data/{folder}/a.parquet"), &merchants(&[(1, 1, 1.0)]));
    }
    let url = |path: &str| format!("file://{}", shop.path(path));
    for (location, expected) in [
        (url("data/%C3%BCn%C3%AF%20dir"), "data/ünï dir"),
        (url("data/%c3%bcn%c3%af dir/*.parquet"), "data/ünï dir"),
        (url("d?ta/%C3%BCn%C3%AF%20dir/a.parquet"), "data/ünï dir"),
        (url("data/a%20b"), "data/a b"),
        (url("data/a%2520b/a.parquet"), "data/a%20b"),
        (url("data/%5Bx%5D%2A/a.parquet"), "data/[x]*"),
        (url("*/%5Bx%5D%2A/a.parquet"), "data/[x]*"),
        (shop.path("data/a%20b"), "data/a%20b"),
        (shop.path("data/a%20b/*"), "data/a%20b"),
    ] {
        let files = shop.history.roots().list(&location, "parquet").await.unwrap();
        let paths: Vec<&str> = files.iter().map(|file| file.version.path.as_str()).collect();
        assert_eq!(paths, [shop.path(&format!("{expected}/a.parquet"))], "{location}");
        // By the path that it is listed under, whatever that has in it.
        let found = shop.history.roots().reopen(&files[0].version).await.unwrap();
        assert!(shop.history.roots().lists(&location, "parquet", &found.place), "{location}");
        let roots = Roots::open([url("data/%C3%BCn%C3%AF%20dir").as_str()]).unwrap();
        assert_eq!(roots.place(&files[0].version.path).is_ok(), expected == "data/ünï dir");
    }
    for (location, expected) in [
        (
            url("data/100%"),
            expect![
                "INVALID_ARGUMENT: `file://FOLDER/data/100%` is not a URL of a file: `%` is not an escape such as %20; a % itself is written as %25"
            ],
        ),
        (
            url("data/*%zz"),
            expect![
                "INVALID_ARGUMENT: `file://FOLDER/data/*%zz` is not a URL of a file: `%zz` is not an escape such as %20; a % itself is written as %25"
            ],
        ),
        (
            url("data/%ff"),
            expect![
                "INVALID_ARGUMENT: `file://FOLDER/data/%ff` is not a URL of a file: its escapes are no UTF-8: invalid utf-8 sequence of 1 bytes from index N"
            ],
        ),
    ] {
        let error = shop.history.roots().list(&location, "parquet").await.unwrap_err();
        let text = shop.text(&error);
        let text = text.split_once("index ").map_or(text.clone(), |(text, _)| format!("{text}index N"));
        expected.assert_eq(&text);
    }
    let output = shop.sets().output(&url("data/new%20set.parquet"), &[]).await.unwrap();
    let set = shop.prepare(references(&["merchant_risk"]), Spine::Path(url("spine%201.csv")));
    assert_eq!(set.await.err().unwrap().code(), ErrorCode::NotFound);
    shop.write_text("spine 1.csv", "merchant_id,t\n1,2026-01-01\n");
    let set = shop.prepare(references(&["merchant_risk"]), Spine::Path(url("spine%201.csv"))).await.unwrap();
    assert_eq!(set.write(&output, |_| ()).await.unwrap(), 1);
    assert!(fs::exists(shop.path("data/new set.parquet")).unwrap());
}

/// Whoever opened it would wait for somebody who writes into it.
#[tokio::test]
async fn a_pipe_is_no_file() {
    let shop = Shop::new();
    shop.write("d/a.parquet", &merchants(&[(1, 1, 1.0)]));
    assert!(std::process::Command::new("mkfifo").arg(shop.path("d/pipe.parquet")).status().unwrap().success());
    let error = shop.history.roots().list(&shop.path("d/pipe.parquet"), "parquet").await.unwrap_err();
    expect!["FAILED_PRECONDITION: `FOLDER/d/pipe.parquet` is no regular file"].assert_eq(&shop.text(&error));
    assert_eq!(shop.history.roots().list(&shop.path("d"), "parquet").await.unwrap().len(), 1);
}
