# frozen_string_literal: true

require_relative 'registry/base_resolver'
require_relative 'registry/method_dispatch_wrapper'
require_relative 'registry/registry_resolver'
require_relative 'registry/resolvers/explicit_mapping_resolver'
require_relative 'registry/resolvers/functional_resolver'
require_relative 'registry/resolvers/class_constant_resolver'
require_relative 'registry/resolver_chain'
require_relative 'registry/handler_registry'

module TaskerCore
  # From the handler that a template names to an object that can be called.
  module Registry
    # The resolvers that every chain has, and their base.
    module Resolvers
      # See {Registry::BaseResolver}.
      BaseResolver = Registry::BaseResolver
      # See {Registry::RegistryResolver}.
      RegistryResolver = Registry::RegistryResolver
      # See {Registry::MethodDispatchWrapper}.
      MethodDispatchWrapper = Registry::MethodDispatchWrapper
    end
  end
end
