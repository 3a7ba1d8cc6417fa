package evidence_test

import (
	"testing"

	"github.com/ragmesh/ragmesh/libs/evidence"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		claim, quote string
		want         evidence.Support
	}{
		"same words": {
			claim: "The default number of replicas is 1 [2].",
			quote: "If you do not specify .spec.replicas, the default number of replicas is 1.",
			want:  evidence.Supported,
		},
		"paraphrased by form": {
			claim: "The kubelet restarted the failing containers.",
			quote: "When a container fails, the kubelet restarts it on the same node.",
			want:  evidence.Supported,
		},
		"a number the quote lacks": {
			claim: "The default number of replicas is 3.",
			quote: "The default number of replicas is 1.",
			want:  evidence.Unsupported,
		},
		"a number as a word": {
			claim: "The game lasted 3 hours.",
			quote: "The game lasted three hours in all.",
			want:  evidence.Supported,
		},
		"thousands separators": {
			claim: "The limit is 5000 nodes.",
			quote: "Kubernetes supports a limit of 5,000 nodes.",
			want:  evidence.Supported,
		},
		"another name": {
			claim: "The game was won by Carolina.",
			quote: "The game was won by Denver.",
			want:  evidence.Unsupported,
		},
		"the quote denies it": {
			claim: "Deleting a ReplicaSet deletes its Pods.",
			quote: "Deleting a ReplicaSet does not delete its Pods.",
			want:  evidence.Unsupported,
		},
		"the claim denies it": {
			claim: "The Pod is not evicted.",
			quote: "The Pod is evicted.",
			want:  evidence.Unsupported,
		},
		"both deny it": {
			claim: "The Pod isn't evicted.",
			quote: "In that case the Pod is not evicted.",
			want:  evidence.Supported,
		},
		"a negation elsewhere in the quote": {
			claim: "The finished Job keeps its Pods.",
			quote: "A finished Job keeps its Pods; their logs are not removed.",
			want:  evidence.Supported,
		},
		"an antonym": {
			claim: "The bank increased the fee.",
			quote: "The bank decreased the fee.",
			want:  evidence.Unsupported,
		},
		"something else altogether": {
			claim: "Services load-balance traffic across Pods.",
			quote: "A CronJob creates Jobs on a repeating schedule.",
			want:  evidence.Unsupported,
		},
		"another language": {
			claim: "默认副本数为 1。",
			quote: "The default number of replicas is 1.",
			want:  evidence.Unverified,
		},
		"nothing to compare": {claim: "It is.", quote: "It is so.", want: evidence.Unverified},
		"chinese, same words": {
			claim: "如果未设置，副本数默认为 1。",
			quote: "如果没有设置 .spec.replicas，则副本数默认为 1。",
			want:  evidence.Supported,
		},
		"chinese, other order": {
			claim: "kubelet 会重启失败的容器[1]。",
			quote: "当容器失败时，kubelet 会在同一节点上重启该容器。",
			want:  evidence.Supported,
		},
		"chinese number": {
			claim: "挂失手续费为 20 元。",
			quote: "挂失手续费为 10 元。",
			want:  evidence.Unsupported,
		},
		"chinese numeral": {
			claim: "挂失在 3 天内生效。",
			quote: "挂失在三天内生效。",
			want:  evidence.Supported,
		},
		"chinese negation": {
			claim: "删除 ReplicaSet 会删除其 Pod。",
			quote: "删除 ReplicaSet 不会删除其 Pod。",
			want:  evidence.Unsupported,
		},
		"chinese, something else": {
			claim: "调度器为 Pod 选择节点。",
			quote: "定时任务按照时间表重复创建作业。",
			want:  evidence.Unsupported,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, share := evidence.Verify(tc.claim, tc.quote); got != tc.want {
				t.Errorf("Verify = %v (%.2f), want %v", got, share, tc.want)
			}
		})
	}
}
