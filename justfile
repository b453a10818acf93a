# The checks that a change must pass. Each recipe runs one of the checks of .ci/run.

# list the recipes
default:
    @just --list

# check the format
fmt:
    bash .ci/run fmt

# run all tests
test:
    bash .ci/run test

# refuse lints in all targets
clippy:
    bash .ci/run clippy

# build the library's documentation
doc:
    bash .ci/run doc

# prune the built-in network
demo:
    bash .ci/run demo

# compare the program with ONNX Runtime and NumPy
e2e:
    bash .ci/run e2e

# build without the default features
features:
    bash .ci/run features

# build from the packaged files
package:
    bash .ci/run package

# build, install and test the Python package
python:
    bash .ci/run python

# check licences, sources and advisories of the dependencies
deny:
    bash .ci/run deny

# run every check
ci:
    bash .ci/run
