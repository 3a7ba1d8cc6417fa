// Tries ragmesh on a real cluster. A module of its own, outside go.work: it uses what is built, and none of its code.
module github.com/ragmesh/ragmesh/deploy/test

go 1.26.0
