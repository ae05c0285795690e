use http::{Request, header};

use super::*;

fn ask(page: &Page, method: &str, path: &str, known: &str) -> Option<Result<Answer, Problem>> {
    let request = Request::builder().method(method).uri(path).header(header::IF_NONE_MATCH, known);
    page.answer(&request.body(()).unwrap().into_parts().0)
}

fn served(page: &Page) -> Vec<&'static str> {
    let paths = ["/", "/page.js", "/page.css", "/piton.js", "/piton.d.ts"];
    paths.into_iter().filter(|path| ask(page, "GET", path, "\"\"").is_some()).collect()
}

#[test]
fn the_module_is_served_without_the_page_and_nothing_by_default() {
    let all = ["/", "/page.js", "/page.css", "/piton.js", "/piton.d.ts"];
    assert_eq!(served(&Page::whole(&Rules::default())), all);
    assert_eq!(served(&Page::module()), ["/piton.js", "/piton.d.ts"]);
    assert!(served(&Page::default()).is_empty());
    for other in ["/piton", "/piton.js/", "/index.html", "/page.cs", "//"] {
        assert!(ask(&Page::whole(&Rules::default()), "GET", other, "\"\"").is_none(), "{other}");
    }
}

#[test]
fn a_browser_that_has_it_is_told_so() {
    let page = Page::module();
    let first = ask(&page, "GET", "/piton.js", "\"\"").unwrap().unwrap();
    assert_eq!(first.status(), 200);
    let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    for known in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
        let again = ask(&page, "GET", "/piton.js", &known).unwrap().unwrap();
        assert_eq!((again.status().as_u16(), again.body().len()), (304, 0), "{known}");
        assert_eq!(again.headers()[header::ETAG], etag.as_str());
    }
}

#[test]
fn the_page_is_told_what_the_server_does_not_do() {
    let rules = Rules { download_disabled: true, ..Rules::default() };
    let text = |page: &Page| {
        let answer = ask(page, "GET", "/", "\"\"").unwrap().unwrap();
        String::from_utf8(answer.into_body()).unwrap()
    };
    let (free, strict) = (text(&Page::whole(&Rules::default())), text(&Page::whole(&rules)));
    assert!(free.contains("<html lang=\"en\" data-server=\"\">"), "{free}");
    assert!(strict.contains("<html lang=\"en\" data-server=\"no-download\">"), "{strict}");
}

#[test]
fn other_methods_are_not_known() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let refused = ask(&Page::whole(&Rules::default()), method, "/", "\"\"").unwrap();
        let allow = "GET, HEAD".to_owned();
        assert_eq!(refused.unwrap_err(), Problem::MethodNotAllowed { allow });
    }
}
