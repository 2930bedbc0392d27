# frozen_string_literal: true

require 'tasker_core/worker/application'
require 'tasker_core/worker/bootstrap'
require 'tasker_core/worker/event_bridge'
require 'tasker_core/worker/in_process_domain_event_poller'

module TaskerCore
  # Runs steps: leases them from a server, calls their handlers, reports the results. See docs/worker-protocol.md.
  module Worker
  end
end
