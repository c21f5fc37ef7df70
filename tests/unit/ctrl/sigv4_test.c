/* Signatures as AWS published them: "Examples: Signature Calculations" of the S3 API reference, and the suite get-vanilla of
 * "Signature Version 4 test suite". */
#include "ctrl/fetch/sigv4.h"
#include "tests/unit/test.h"

#define S3_ID     "AKIAIOSFODNN7EXAMPLE"
#define S3_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define EMPTY     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct sigv4_request s3_request(const char *method, const char *path, const char *query,
                                       const char *sha)
{
    return (struct sigv4_request){.method = method,
                                  .path = path,
                                  .query = query,
                                  .payload_sha256 = sha,
                                  .region = "us-east-1",
                                  .service = "s3",
                                  .key_id = S3_ID,
                                  .secret = S3_SECRET,
                                  .date = "20130524T000000Z"};
}

static void signs_to(const struct sigv4_request *r, const char *want)
{
    char auth[SIGV4_AUTH_CAP];

    assert_true(sigv4_authorization(r, auth));
    assert_string_equal(auth, want);
}

#define S3_AUTH(headers, signature)                                                                          \
    "AWS4-HMAC-SHA256 Credential=" S3_ID "/20130524/us-east-1/s3/aws4_request, SignedHeaders=" headers       \
    ", Signature=" signature

static void an_object_is_got_as_published(void **state)
{
    struct sigv4_request r = s3_request("GET", "/test.txt", "", EMPTY);

    (void)state;
    r.headers[0] = (struct sigv4_header){"host", "examplebucket.s3.amazonaws.com"};
    r.headers[1] = (struct sigv4_header){"range", "bytes=0-9"};
    r.headers[2] = (struct sigv4_header){"x-amz-content-sha256", EMPTY};
    r.headers[3] = (struct sigv4_header){"x-amz-date", "20130524T000000Z"};
    r.header_count = 4;
    signs_to(&r, S3_AUTH("host;range;x-amz-content-sha256;x-amz-date",
                         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
}

static void an_object_is_put_as_published(void **state)
{
    char path[64], sha[SIGV4_HEX_LEN];

    (void)state;
    sigv4_encode("/test$file.text", false, path);
    sigv4_sha256_hex(span_str("Welcome to Amazon S3."), sha);
    struct sigv4_request r = s3_request("PUT", path, "", sha);
    r.headers[0] = (struct sigv4_header){"date", "Fri, 24 May 2013 00:00:00 GMT"};
    r.headers[1] = (struct sigv4_header){"host", "examplebucket.s3.amazonaws.com"};
    r.headers[2] = (struct sigv4_header){"x-amz-content-sha256", sha};
    r.headers[3] = (struct sigv4_header){"x-amz-date", "20130524T000000Z"};
    r.headers[4] = (struct sigv4_header){"x-amz-storage-class", "REDUCED_REDUNDANCY"};
    r.header_count = 5;
    signs_to(&r, S3_AUTH("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

static void list_as_published(const char *query, const char *want)
{
    struct sigv4_request r = s3_request("GET", "/", query, EMPTY);

    r.headers[0] = (struct sigv4_header){"host", "examplebucket.s3.amazonaws.com"};
    r.headers[1] = (struct sigv4_header){"x-amz-content-sha256", EMPTY};
    r.headers[2] = (struct sigv4_header){"x-amz-date", "20130524T000000Z"};
    r.header_count = 3;
    signs_to(&r, want);
}

static void a_bucket_is_listed_as_published(void **state)
{
    (void)state;
    list_as_published("max-keys=2&prefix=J",
                      S3_AUTH("host;x-amz-content-sha256;x-amz-date",
                              "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
    list_as_published("lifecycle=",
                      S3_AUTH("host;x-amz-content-sha256;x-amz-date",
                              "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

static void the_vanilla_request_of_the_suite_is_signed_as_published(void **state)
{
    struct sigv4_request r = {
        .method = "GET",
        .path = "/",
        .query = "",
        .headers = {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}},
        .header_count = 2,
        .payload_sha256 = EMPTY,
        .region = "us-east-1",
        .service = "service",
        .key_id = "AKIDEXAMPLE",
        .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        .date = "20150830T123600Z"};

    (void)state;
    signs_to(&r, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                 "SignedHeaders=host;x-amz-date, "
                 "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

static void everything_but_unreserved_letters_is_encoded(void **state)
{
    char out[64];

    (void)state;
    sigv4_encode("a/b c$~._-Z9", false, out);
    assert_string_equal(out, "a/b%20c%24~._-Z9");
    sigv4_encode("a/b=+", true, out);
    assert_string_equal(out, "a%2Fb%3D%2B");
}

static void what_does_not_fit_is_not_signed(void **state)
{
    static char path[8192];
    char auth[SIGV4_AUTH_CAP];

    (void)state;
    memset(path, 'a', sizeof path - 1);
    struct sigv4_request r = s3_request("GET", path, "", EMPTY);
    assert_false(sigv4_authorization(&r, auth));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_got_as_published),
        cmocka_unit_test(an_object_is_put_as_published),
        cmocka_unit_test(a_bucket_is_listed_as_published),
        cmocka_unit_test(the_vanilla_request_of_the_suite_is_signed_as_published),
        cmocka_unit_test(everything_but_unreserved_letters_is_encoded),
        cmocka_unit_test(what_does_not_fit_is_not_signed),
    };

    return RUN_TESTS("ctrl sigv4", tests);
}
