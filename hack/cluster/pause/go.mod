// The process that holds a pod together; it has no dependency but Go itself.
module towline.dev/hack/cluster/pause

go 1.24.0
