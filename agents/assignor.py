"""Who gets a single stage's partitions: one member gets all of them, the others stand by.

Faust spreads partitions over the members of a group. A single stage waits at each watermark for all its
partitions, so two workers with a part each would both wait for ever.
"""

from collections.abc import Mapping, MutableMapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor


class SoleOwner(PartitionAssignor):
    """All partitions to the member that holds most of them already, the first by id where none does."""

    _owner = ""

    def _perform_assignment(
        self, cluster: ClusterMetadata, member_metadata: MutableMapping[str, ConsumerProtocolMemberMetadata]
    ) -> MutableMapping[str, ConsumerProtocolMemberAssignment]:
        held = {
            member: len(self._get_client_metadata(metadata).assignment.active_tps)
            for member, metadata in sorted(member_metadata.items())
        }
        self._owner = max(held, key=lambda member: held[member])
        return super()._perform_assignment(cluster, member_metadata)

    def _global_table_standby_assignments(
        self, assignments: MutableMapping[str, ClientAssignment], partitions_by_topic: Mapping[str, int]
    ) -> MutableMapping[str, ClientAssignment]:
        """Faust's last word on who gets what: here everything goes to the owner."""
        whole = {topic: list(range(count)) for topic, count in sorted(partitions_by_topic.items())}
        return {
            member: ClientAssignment(actives=whole if member == self._owner else {}, standbys={})
            for member in assignments
        }
